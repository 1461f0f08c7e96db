"""The HCL report that the sandbox writes, held against a real one byte for byte where the values allow."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

from skrkit.encoding import b64url_bytes
from skrkit.sandbox.hcl import build_hcl_report, report_data_of, runtime_claims

AK = (1 << 2047) + 12345
EK = (1 << 2047) + 67891
VM_ID = "7df7b373-b947-4aaa-96e5-c358f2a03d20"


def claims(user_data: bytes = b"") -> bytes:
    return runtime_claims(ak=AK, ek=EK, vm_id=VM_ID, secure_boot=True, user_data=user_data)


def test_claims_have_the_real_ones_members_in_their_order(captures: Path) -> None:
    real = (captures / "azure-snp-milan-v3" / "hcl-report.bin").read_bytes()
    size = struct.unpack_from("<I", real, 0x4D0)[0]
    theirs = json.loads(real[0x4D4 : 0x4D4 + size])
    ours = json.loads(claims())
    for key in theirs["keys"] + ours["keys"]:
        key["n"] = "-"
    theirs["user-data"] = ours["user-data"] = "-"
    assert json.dumps(ours) == json.dumps(theirs)  # in order, not only equal


def test_real_claims_are_reproduced_to_the_byte(captures: Path) -> None:
    """With a real machine's keys, id and user data the writer gives the very bytes that its hardware vouched for."""
    real = (captures / "azure-snp-milan-v3" / "hcl-report.bin").read_bytes()
    size = struct.unpack_from("<I", real, 0x4D0)[0]
    stored = real[0x4D4 : 0x4D4 + size]
    parsed = json.loads(stored)
    ak, ek = (int.from_bytes(b64url_bytes(k["n"], what="n", where="test"), "big") for k in parsed["keys"])
    made = runtime_claims(
        ak=ak,
        ek=ek,
        vm_id=parsed["vm-configuration"]["vmUniqueId"].lower(),
        secure_boot=True,
        user_data=bytes.fromhex(parsed["user-data"]),
    )
    assert made == stored
    report = real[0x20:0x4C0]
    assert report_data_of(made) == report[0x50:0x90]
    assert build_hcl_report(report, made) == real


def test_user_data_is_padded_and_cut_to_64_bytes_in_upper_case() -> None:
    assert json.loads(claims(b"\xab\xcd"))["user-data"] == "ABCD" + "00" * 62
    assert json.loads(claims(b"\x01" * 70))["user-data"] == "01" * 64
    assert json.loads(claims())["user-data"] == "0" * 128


def test_report_data_is_the_hash_then_zeros() -> None:
    assert report_data_of(b"{}") == hashlib.sha256(b"{}").digest() + bytes(32)
