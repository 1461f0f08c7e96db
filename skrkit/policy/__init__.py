"""Release policies: parse, encode, evaluate, explain."""
