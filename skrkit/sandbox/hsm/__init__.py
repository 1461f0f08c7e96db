"""Managed HSM's data plane: its security domain and its local roles. Its keys are handled as a vault's are."""
