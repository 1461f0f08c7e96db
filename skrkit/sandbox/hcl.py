"""The HCL report as the paravisor writes it to NV index 0x01400001: a second statement of its layout.

Source: HwVmReport.h in github.com/Azure/confidential-computing-cvm-guest-attestation; the values are those of a
real Azure machine (header version 1, NV size 2600, `HCLAkPub` then `HCLEkPub`, user-data in upper-case hex).
"""

from __future__ import annotations

import hashlib
import json
import struct

from skrkit.encoding import b64url

NV_SIZE = 2600
HARDWARE_REPORT_SIZE = 1184


def _jwk(kid: str, operation: str, modulus: int) -> dict[str, object]:
    size = (modulus.bit_length() + 7) // 8
    return {"kid": kid, "key_ops": [operation], "kty": "RSA", "e": "AQAB", "n": b64url(modulus.to_bytes(size, "big"))}


def runtime_claims(*, ak: int, ek: int, vm_id: str, secure_boot: bool, user_data: bytes) -> bytes:
    """Return the runtime claims, compact UTF-8 JSON whose member order and every byte count: they are hashed.

    `ak` and `ek` are RSA moduli (e is 65537). `vm_id` is a GUID in any case, written in upper case. `user_data` is
    what the guest left in NV 0x01400002, padded with zeros or cut to 64 bytes.
    """
    claims = {
        "keys": [_jwk("HCLAkPub", "sign", ak), _jwk("HCLEkPub", "encrypt", ek)],
        "vm-configuration": {
            "console-enabled": True,
            "secure-boot": secure_boot,
            "tpm-enabled": True,
            "vmUniqueId": vm_id.upper(),
        },
        "user-data": user_data[:64].ljust(64, b"\0").hex().upper(),
    }
    return json.dumps(claims, separators=(",", ":")).encode("utf-8")


def report_data_of(claims: bytes) -> bytes:
    """Return REPORT_DATA for runtime claims: their SHA-256, then 32 zero bytes."""
    return hashlib.sha256(claims).digest() + bytes(32)


def build_hcl_report(
    snp_report: bytes,
    claims: bytes,
    *,
    version: int = 1,
    request_type: int = 2,
    report_type: int = 2,
    hash_type: int = 1,
    nv_size: int = NV_SIZE,
) -> bytes:
    """Return the content of the NV index: header, hardware report, request data, claims, zeros up to `nv_size` bytes.

    `version` 1 or 2, `request_type` 2 (AK certificate), `report_type` 2 (SNP), `hash_type` 1 (SHA-256).
    """
    used = 0x4D4 + len(claims)
    data = bytearray(max(nv_size, used))
    struct.pack_into("<4sIII", data, 0x00, b"HCLA", version, used, request_type)  # status and reserved stay 0
    struct.pack_into(f"<{HARDWARE_REPORT_SIZE}s", data, 0x20, snp_report)
    struct.pack_into("<IIIII", data, 0x4C0, 20 + len(claims), 1, report_type, hash_type, len(claims))
    data[0x4D4:used] = claims
    return bytes(data)
