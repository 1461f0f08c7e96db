"""Attestation policies, which decide over a token before there is one: parse, evaluate, lint, hash, wrap."""
