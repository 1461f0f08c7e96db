"""What the attester says: bytes to models, no trust."""
