"""The secure-boot variables of the sandbox's firmware: PK, KEK, db and dbx, the same bytes in every sandbox.

EFI_SIGNATURE_LIST after UEFI 2.10, section 32.4. Real ones hold Microsoft's RSA certificates; these hold the sandbox's
own, Ed25519 with a key that anybody can derive, so that the bytes are reproducible (simplified: nothing is ever
verified with them). `digests()` is what the sandbox's MAA takes as the known good content.
"""

from __future__ import annotations

import functools
import hashlib
import struct
import uuid
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from skrkit.sandbox.certificateparts import name_of

_CERT_X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
_CERT_SHA256 = uuid.UUID("c1c41626-504c-4092-aca9-41f936934328")
_OWNER = uuid.UUID("77fa9abd-0359-4d32-bd60-28f4e78f784b")  # Microsoft's owner GUID, as in a real db


def _certificate(common_name: str) -> bytes:
    """Return a self-signed certificate, DER, whose key and signature follow from its name alone."""
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(common_name.encode()).digest())
    name = name_of(common_name)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2023, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2048, 1, 1, tzinfo=UTC))
        .sign(key, None)
        .public_bytes(Encoding.DER)
    )


def _signature_list(kind: uuid.UUID, entries: list[bytes]) -> bytes:
    """Return EFI_SIGNATURE_LIST: type, total size, header size 0, entry size, then owner and data of each entry."""
    size = 16 + len(entries[0])  # the entries of one list have one size
    head = kind.bytes_le + struct.pack("<III", 28 + size * len(entries), 0, size)
    return head + b"".join(_OWNER.bytes_le + entry for entry in entries)


@functools.cache
def platform_key() -> bytes:
    """Return the content of PK."""
    return _signature_list(_CERT_X509, [_certificate("skrkit sandbox UEFI platform key")])


@functools.cache
def key_exchange_keys() -> bytes:
    """Return the content of KEK."""
    return _signature_list(_CERT_X509, [_certificate("skrkit sandbox UEFI key exchange key")])


@functools.cache
def allowed() -> bytes:
    """Return the content of db: two lists, since the certificates differ in size."""
    names = ("skrkit sandbox UEFI CA", "skrkit sandbox Linux distributor CA")
    return b"".join(_signature_list(_CERT_X509, [_certificate(name)]) for name in names)


@functools.cache
def forbidden() -> bytes:
    """Return the content of dbx: SHA-256 digests of three images that must not start."""
    images = [hashlib.sha256(f"skrkit sandbox revoked image {number}".encode()).digest() for number in range(3)]
    return _signature_list(_CERT_SHA256, images)


@functools.cache
def digests() -> dict[str, str]:
    """Return the SHA-256 of each variable's content, hex, by the variable's name."""
    contents = {"PK": platform_key(), "KEK": key_exchange_keys(), "db": allowed(), "dbx": forbidden()}
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
