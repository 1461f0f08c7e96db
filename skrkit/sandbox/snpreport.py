"""The bytes of an SEV-SNP attestation report, version 3: a second statement of the layout, apart from the parser's.

Source: AMD 56860 (SEV-SNP firmware ABI), table "ATTESTATION_REPORT"; the values are those of a real Azure report
(Milan, firmware 1.55.29), except chip, measurement and keys.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from skrkit.sandbox import keygen

REPORT_SIZE = 1184
SIGNED_SIZE = 672

TCB = bytes([4, 0, 0, 0, 0, 0, 24, 219])
"""Boot loader 4, TEE 0, SNP 24, microcode 219: what a real Milan machine of Azure reported in 2025."""

ID_KEY_DIGEST = hashlib.sha384(b"skrkit sandbox: the key that signs the paravisor").digest()
"""Stands for Microsoft's: which key signed the paravisor. The sandbox's MAA lists this one as compliant."""

POLICY = 0x3001F
"""ABI 0.31, SMT allowed, reserved bit 17 set; neither debugging (bit 19) nor a migration agent (bit 18) is allowed."""

MEASUREMENT = hashlib.sha384(b"skrkit sandbox: paravisor image 1").digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpFields:
    """What a report says. Any field can be changed, so that a fault can be shown; the signature then covers it."""

    report_data: bytes  # 64
    chip_id: bytes  # 64
    report_id: bytes  # 32, stable over the guest's life
    version: int = 3
    guest_svn: int = 12
    policy: int = POLICY
    family_id: bytes = bytes.fromhex("02212000000000000000000000000000")
    image_id: bytes = bytes.fromhex("02000000000000000000000000000000")
    vmpl: int = 0
    signature_algo: int = 1  # ECDSA P-384 with SHA-384
    platform_info: int = 0x25  # SMT, ECC, alias check done
    key_info: int = 0  # signed by a VCEK, no author key
    current_tcb: bytes = TCB
    reported_tcb: bytes = TCB
    committed_tcb: bytes = TCB
    launch_tcb: bytes = TCB
    measurement: bytes = MEASUREMENT  # 48
    host_data: bytes = bytes(32)
    id_key_digest: bytes = ID_KEY_DIGEST  # 48
    author_key_digest: bytes = bytes(48)
    report_id_ma: bytes = b"\xff" * 32  # no migration agent
    cpuid: tuple[int, int, int] = (0x19, 0x01, 0x01)  # family, model, stepping
    current_version: tuple[int, int, int] = (29, 55, 1)  # build, minor, major
    committed_version: tuple[int, int, int] = (29, 55, 1)


def signed_part(fields: SnpFields) -> bytearray:
    """Return a report's 1184 bytes with the signature still zero."""
    data = bytearray(REPORT_SIZE)
    struct.pack_into("<IIQ", data, 0x000, fields.version, fields.guest_svn, fields.policy)
    struct.pack_into("<16s16s", data, 0x010, fields.family_id, fields.image_id)
    struct.pack_into("<II", data, 0x030, fields.vmpl, fields.signature_algo)
    struct.pack_into("<8sQI", data, 0x038, fields.current_tcb, fields.platform_info, fields.key_info)
    struct.pack_into("<64s", data, 0x050, fields.report_data)
    struct.pack_into("<48s", data, 0x090, fields.measurement)
    struct.pack_into("<32s", data, 0x0C0, fields.host_data)
    struct.pack_into("<48s48s", data, 0x0E0, fields.id_key_digest, fields.author_key_digest)
    struct.pack_into("<32s32s", data, 0x140, fields.report_id, fields.report_id_ma)
    struct.pack_into("<8s3B", data, 0x180, fields.reported_tcb, *fields.cpuid)
    struct.pack_into("<64s", data, 0x1A0, fields.chip_id)
    struct.pack_into("<8s", data, 0x1E0, fields.committed_tcb)
    struct.pack_into("<3B", data, 0x1E8, *fields.current_version)
    struct.pack_into("<3B", data, 0x1EC, *fields.committed_version)
    struct.pack_into("<8s", data, 0x1F0, fields.launch_tcb)
    return data


def build_snp_report(fields: SnpFields, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a signed report, 1184 bytes: ECDSA P-384 over bytes 0 to 0x29F, r and s little-endian in 72 bytes each."""
    data = signed_part(fields)
    r, s = decode_dss_signature(key.sign(bytes(data[:SIGNED_SIZE]), keygen.ecdsa(hashes.SHA384())))
    struct.pack_into("<72s72s", data, 0x2A0, r.to_bytes(72, "little"), s.to_bytes(72, "little"))
    return bytes(data)
