"""Key Vault's data plane in the sandbox: keys, crypto operations, and secure key release."""
