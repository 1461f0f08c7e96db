"""The sandbox attestation service, tested over ASGI."""
