"""Model to view: rich in the terminal, from one description."""
