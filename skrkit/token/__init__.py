"""Attestation tokens: decode, verify, and what each claim means."""
