"""The public templates of Azure's keys, as TPMT_PUBLIC bytes: attestation key, endorsement key, ephemeral key.

Source: OpenHCL's vTPM (AK, EK) and Azure's guest attestation clients (ephemeral key).
"""

from __future__ import annotations

import struct
from typing import Literal, TypeAlias

from skrkit.tpm.algorithms import Alg
from skrkit.tpm.public import ObjectAttributes as Bit

KeyHierarchy: TypeAlias = Literal["null", "owner"]

RSA_BITS = 2048
EPHEMERAL_ATTRIBUTES = (
    Bit.DECRYPT | Bit.FIXED_TPM | Bit.FIXED_PARENT | Bit.SENSITIVE_DATA_ORIGIN | Bit.NO_DA
)  # 0x00020432; userWithAuth is clear, so that only the PCR policy opens the key
AK_ATTRIBUTES = (
    Bit.FIXED_TPM
    | Bit.FIXED_PARENT
    | Bit.SENSITIVE_DATA_ORIGIN
    | Bit.USER_WITH_AUTH
    | Bit.NO_DA
    | Bit.RESTRICTED
    | Bit.SIGN
)
EK_ATTRIBUTES = (
    Bit.FIXED_TPM | Bit.FIXED_PARENT | Bit.SENSITIVE_DATA_ORIGIN | Bit.ADMIN_WITH_POLICY | Bit.RESTRICTED | Bit.DECRYPT
)
# PolicySecret of the endorsement hierarchy, TCG EK Credential Profile, template L-1
EK_POLICY = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")


def rsa_template(*, attributes: int, policy: bytes, symmetric: bytes, scheme: bytes, unique: bytes) -> bytes:
    """Return the TPMT_PUBLIC of an RSA-2048 key with SHA-256 names and exponent 0 (65537).

    `symmetric` and `scheme` are the marshalled TPMT_SYM_DEF_OBJECT and TPMT_RSA_SCHEME.
    """
    return b"".join(
        (
            struct.pack(">HHIH", Alg.RSA, Alg.SHA256, attributes, len(policy)),
            policy,
            symmetric,
            scheme,
            struct.pack(">HIH", RSA_BITS, 0, len(unique)),
            unique,
        )
    )


_NULL = struct.pack(">H", Alg.NULL)


def ak_template() -> bytes:
    """Return the template of Azure's attestation key: restricted RSASSA SHA-256, unique of 256 zero bytes."""
    scheme = struct.pack(">HH", Alg.RSASSA, Alg.SHA256)
    return rsa_template(attributes=AK_ATTRIBUTES, policy=b"", symmetric=_NULL, scheme=scheme, unique=bytes(256))


def ek_template() -> bytes:
    """Return the TCG low-range RSA-2048 endorsement key template."""
    symmetric = struct.pack(">HHH", Alg.AES, 128, Alg.CFB)
    return rsa_template(
        attributes=EK_ATTRIBUTES, policy=EK_POLICY, symmetric=symmetric, scheme=_NULL, unique=bytes(256)
    )


def ephemeral_template(policy: bytes, hierarchy: KeyHierarchy) -> bytes:
    """Return the template of the ephemeral encryption key, usable only while `policy` (32 bytes) can be reached.

    The unique field follows Microsoft's two clients: 256 zero bytes in the null hierarchy, empty in the owner's.
    """
    unique = bytes(256) if hierarchy == "null" else b""
    return rsa_template(attributes=EPHEMERAL_ATTRIBUTES, policy=policy, symmetric=_NULL, scheme=_NULL, unique=unique)
