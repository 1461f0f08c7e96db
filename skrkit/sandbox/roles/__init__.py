"""Azure roles: what each allows, to whom it is assigned where, and whether that covers an action."""
