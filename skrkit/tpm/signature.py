"""TPMT_SIGNATURE: a signature as a TPM returns it. Big-endian, no trust."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from skrkit.errors import ParseError
from skrkit.tpm.algorithms import HASHES, MAX_ECC_BYTES, MAX_RSA_BYTES, SOURCE, Alg, TpmCursor
from skrkit.wire import Json, Span

_SCHEMES = frozenset({Alg.RSASSA, Alg.RSAPSS, Alg.ECDSA})


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A parsed TPMT_SIGNATURE: RSASSA or RSAPSS with `sig`, or ECDSA with `r` and `s`, all big-endian bytes."""

    kind: ClassVar[str] = "tpmt-signature"
    title: ClassVar[str] = "TPM signature"

    raw: bytes
    alg: Alg
    hash: Alg
    sig: bytes = b""
    r: bytes = b""
    s: bytes = b""

    def rsa_bytes(self) -> bytes:
        """Return the RSA signature, 256 bytes for RSA-2048. Raises `ParseError` for ECDSA, which has two numbers."""
        if self.alg is Alg.ECDSA:
            raise ParseError(
                what="TPMT_SIGNATURE sigAlg",
                where="byte 0x0, 2 bytes",
                expected="rsassa or rsapss",
                found="ecdsa",
                fix="Sign with an RSA key: Azure's attestation key at 0x81000003 is RSA-2048.",
                source=SOURCE,
            )
        return self.sig

    def fields(self) -> dict[str, Json]:
        """Return the decoded values; bytes as hex."""
        members: dict[str, Json] = {"alg": self.alg.name.lower(), "hash": self.hash.name.lower()}
        if self.alg is Alg.ECDSA:
            members["r"], members["s"] = self.r.hex(), self.s.hex()
        else:
            members["sig"] = self.sig.hex()
        return members

    def spans(self) -> tuple[Span, ...]:
        """Return the annotated bytes, by reading them again."""
        cursor = TpmCursor(self.raw, "TPMT_SIGNATURE", silent=False)
        _read(cursor)
        return tuple(cursor.recorded)


def parse_signature(data: bytes) -> Signature:
    """Return the TPMT_SIGNATURE in `data`: 262 bytes for RSASSA with RSA-2048.

    Raises `ParseError`: another scheme or hash, truncated, trailing bytes.
    Source: TPM 2.0 Library, Part 2, "TPMT_SIGNATURE".
    """
    return _read(TpmCursor(data, "TPMT_SIGNATURE"))


def _read(cursor: TpmCursor) -> Signature:
    alg = cursor.alg("sigAlg", _SCHEMES, "signature scheme")
    digest = cursor.alg("hash", HASHES, "hash of the signed bytes")
    sig = r = s = b""
    if alg is Alg.ECDSA:
        r = cursor.sized(2, "signatureR", limit=MAX_ECC_BYTES)
        s = cursor.sized(2, "signatureS", limit=MAX_ECC_BYTES)
    else:
        sig = cursor.sized(2, "sig", limit=MAX_RSA_BYTES, meaning="big-endian, as long as the modulus")
    cursor.end()
    return Signature(raw=cursor.data, alg=alg, hash=digest, sig=sig, r=r, s=s)
