"""The marks of binary kinds: magic numbers, sizes, and fields with few possible values. Cheap, no parser loaded."""

from __future__ import annotations

SNP_REPORT_BYTES = 1184
TD_REPORT_BYTES = 1024
_TPM_MAGIC = b"\xffTCG"
_EVENT_LOG_MARK = b"Spec ID Event03\0"  # at byte 32 of the first event, which has the SHA-1 form
_HASHES = frozenset({0x0004, 0x000B, 0x000C, 0x000D})
_SIGNATURES = frozenset({0x0014, 0x0016, 0x0018})  # RSASSA, RSAPSS, ECDSA
_OBJECTS = frozenset({0x0001, 0x0008, 0x0023})  # RSA, KEYEDHASH, ECC
# DER of 1.3.6.1.4.1.3704.1.1, structVersion: the extension that every VCEK and VLEK has and no other certificate.
_VEK_MARK = bytes.fromhex("06092b060104019c780101")
_RSA_KEY_MARK = bytes.fromhex("06092a864886f70d010101")
_EC_KEY_MARK = bytes.fromhex("06072a8648ce3d0201")
SIZES_WITHOUT_A_MARK = {
    32: "the size of a SHA-256 digest, a PCR or a nonce",
    48: "the size of a SHA-384 digest, such as a launch measurement",
    64: "the size of REPORT_DATA or of a chip id",
    256: "the size of a raw RSA-2048 signature or ciphertext, which has no structure of its own",
    384: "the size of a raw RSA-3072 signature or ciphertext, which has no structure of its own",
    512: "the size of a raw RSA-4096 signature or ciphertext, which has no structure of its own",
}


def binary_kinds(data: bytes) -> tuple[str, ...]:
    """Return the names of the kinds whose mark `data` bears, the likeliest first; most bear one or none."""
    if data[:4] == b"HCLA":
        return ("hcl-report",)
    if data[:4] == _TPM_MAGIC:
        return ("tpms-attest",)
    if data[32:48] == _EVENT_LOG_MARK:
        return ("tcg-event-log",)
    if der_length(data) == len(data):
        return _der_kind(data)
    marks = (
        ("snp-report", _is_snp_report),
        ("td-report", _is_td_report),
        ("tpmt-signature", _is_signature),
        ("tpm2b-public", _is_public),
    )
    return tuple(name for name, has_mark in marks if has_mark(data))


def der_length(data: bytes) -> int:
    """Return the length of the DER SEQUENCE at the start of `data` with its header, or 0 when there is none."""
    if len(data) < 4 or data[0] != 0x30:
        return 0
    if data[1] < 0x80:
        return 2 + data[1]
    octets = data[1] & 0x7F
    if not 1 <= octets <= 3:
        return 0
    return 2 + octets + int.from_bytes(data[2 : 2 + octets], "big")


def is_vek(data: bytes) -> bool:
    """Return whether DER bears AMD's mark of a VCEK or VLEK."""
    return _VEK_MARK in data


def _der_kind(data: bytes) -> tuple[str, ...]:
    if is_vek(data):
        return ("vek-certificate",)
    # Certificate: SEQUENCE { SEQUENCE { [0] version ... SubjectPublicKeyInfo: SEQUENCE { SEQUENCE { OID of the key.
    body = data[2 if data[1] < 0x80 else 2 + (data[1] & 0x7F) :]
    inner = body[2 if body[1] < 0x80 else 2 + (body[1] & 0x7F) :] if len(body) > 1 and body[0] == 0x30 else b""
    if inner[:2] == b"\xa0\x03":
        return ("certificate",)
    if inner.startswith((_RSA_KEY_MARK, _EC_KEY_MARK)):
        return ("public-key",)
    return ()


def _is_snp_report(data: bytes) -> bool:
    """Version below 256 and SIGNATURE_ALGO 1 (ECDSA P-384), or no algorithm where a report is not signed."""
    return (
        len(data) == SNP_REPORT_BYTES
        and 1 < int.from_bytes(data[:4], "little") < 256
        and int.from_bytes(data[0x34:0x38], "little") <= 1
    )


def _is_td_report(data: bytes) -> bool:
    """REPORTTYPE: type 0x81 (TDX), subtype 0."""
    return len(data) == TD_REPORT_BYTES and data[0] == 0x81 and data[1] == 0


def _is_signature(data: bytes) -> bool:
    if len(data) < 6 or _u16(data, 0) not in _SIGNATURES or _u16(data, 2) not in _HASHES:
        return False
    size = _u16(data, 4)
    if _u16(data, 0) != 0x0018:
        return len(data) == 6 + size
    return len(data) >= 8 + size and len(data) == 8 + size + _u16(data, 6 + size)


def _is_public(data: bytes) -> bool:
    """TPMT_PUBLIC: type and name algorithm; TPM2B_PUBLIC: the same after a size that fits."""
    if len(data) >= 12 and _u16(data, 0) in _OBJECTS and _u16(data, 2) in _HASHES:
        return True
    return len(data) >= 14 and _u16(data, 2) in _OBJECTS and _u16(data, 4) in _HASHES and _u16(data, 0) + 2 <= len(data)


def tpm2b_body(data: bytes) -> bytes | None:
    """Return what a TPM2B wraps, or None when its size does not fit: u16 big-endian, then exactly that many bytes."""
    return data[2:] if len(data) > 2 and _u16(data, 0) == len(data) - 2 else None


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


def looks_like(data: bytes) -> str:
    """Return what unknown bytes resemble, for an error: the size and what has that size, or a known foreign format.

    Four bytes are shown and no more: enough for a magic number, too few of a key to be a loss.
    """
    if data[:2] == b"\xd2\x84":
        return "a COSE_Sign1 message (CBOR tag 18), which skrkit does not read"
    if data[:2] == b"\x1f\x8b":
        return "gzip; decompress it first"
    if data[:2] == b"PK":
        return "a zip archive; unpack it first"
    if data[:4] == b"\x7fELF" or data[:2] == b"MZ":
        return "a program"
    if der_length(data) == len(data):
        return "DER that is neither a certificate nor an RSA or EC public key"
    counted = f"{len(data)} byte{'' if len(data) == 1 else 's'} that begin {data[:4].hex()}"
    known = SIZES_WITHOUT_A_MARK.get(len(data))
    return f"{counted}, {known}" if known else f"{counted}, none of the marks that skrkit knows"
