"""TPM 2.0 over a byte transport: structures, the commands the flow needs, and where to send them."""
