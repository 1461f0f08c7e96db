"""Parts of the certificates that the sandbox signs: a name of one attribute, and what a key is for."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import NameOID


def name_of(common_name: str) -> x509.Name:
    """Return the distinguished name that is a common name and nothing else."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def key_usage(*, signs: bool = False, certificates: bool = False, crls: bool = False) -> x509.KeyUsage:
    """Return the key usage of a key that signs messages, certificates, lists of revoked ones: what is said, no more."""
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=crls,
        encipher_only=False,
        decipher_only=False,
    )
