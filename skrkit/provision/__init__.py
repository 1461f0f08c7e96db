"""Steps 1 to 3: identity, access, key."""
