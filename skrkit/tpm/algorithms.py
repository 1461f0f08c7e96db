"""TPM algorithm and curve identifiers that the flow meets, and the reader of TPM structures that knows them.

Source: TCG Algorithm Registry, TPM_ALG_ID and TPM_ECC_CURVE.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum

from skrkit.errors import ParseError
from skrkit.wire import Cursor, Json, where

SOURCE = "TCG TPM 2.0 Library, Part 2"


class Alg(IntEnum):
    """A TPM_ALG_ID. A number that is not here is refused by name where it decides how bytes are read."""

    RSA = 0x0001
    SHA1 = 0x0004
    HMAC = 0x0005
    AES = 0x0006
    MGF1 = 0x0007
    KEYEDHASH = 0x0008
    XOR = 0x000A
    SHA256 = 0x000B
    SHA384 = 0x000C
    SHA512 = 0x000D
    NULL = 0x0010
    RSASSA = 0x0014
    RSAES = 0x0015
    RSAPSS = 0x0016
    OAEP = 0x0017
    ECDSA = 0x0018
    ECDH = 0x0019
    KDF1_SP800_56A = 0x0020
    KDF1_SP800_108 = 0x0022
    ECC = 0x0023
    SYMCIPHER = 0x0025
    CFB = 0x0043


class Curve(IntEnum):
    """A TPM_ECC_CURVE of the NIST prime curves."""

    P256 = 0x0003
    P384 = 0x0004
    P521 = 0x0005


DIGEST_BYTES = {Alg.SHA1: 20, Alg.SHA256: 32, Alg.SHA384: 48, Alg.SHA512: 64}
HASHES = frozenset(DIGEST_BYTES)
OBJECT_TYPES = frozenset({Alg.RSA, Alg.ECC, Alg.KEYEDHASH})
MAX_DIGEST_BYTES = 64  # SHA-512
MAX_NAME_BYTES = 2 + MAX_DIGEST_BYTES  # nameAlg and digest
MAX_RSA_BYTES = 512  # RSA-4096; Azure's vTPM has 2048-bit keys
MAX_ECC_BYTES = 66  # P-521


def alg_name(number: int) -> str:
    """Return an algorithm's name in lower case ("sha256", "rsassa"), or its number ("0x00ff") if it has none here."""
    try:
        return Alg(number).name.lower()
    except ValueError:
        return f"0x{number:04x}"


def digest_size(alg: int) -> int:
    """Return the bytes of a digest by TPM_ALG_ID `alg`. Raises `ParseError` if it is no hash known here."""
    if alg not in HASHES:
        raise ParseError(
            what="TPM hash algorithm",
            where="TPM_ALG_ID, 2 bytes",
            expected="sha1, sha256, sha384 or sha512",
            found=alg_name(alg),
            fix="Use a key or a bank with one of these hashes.",
            source=SOURCE,
        )
    return DIGEST_BYTES[Alg(alg)]


def hash_bytes(alg: int, data: bytes) -> bytes:
    """Return the digest of `data` by TPM_ALG_ID `alg`: SHA-1, SHA-256, SHA-384 or SHA-512. Raises `ParseError`."""
    digest_size(alg)
    return hashlib.new(alg_name(alg), data, usedforsecurity=False).digest()


@dataclass(slots=True)
class TpmCursor(Cursor):
    """A big-endian `Cursor` that reads TPM identifiers. With `silent` set it records no spans: parsing wants none."""

    silent: bool = True
    source: str = SOURCE

    def record(self, size: int, name: str, value: Json, meaning: str = "") -> None:
        """Record the `size` bytes just read as a span, unless silent."""
        if not self.silent:
            Cursor.record(self, size, name, value, meaning)

    def refuse(self, size: int, name: str, *, expected: str, found: str, fix: str = "") -> ParseError:
        """Return the error about the `size` bytes just read, for the caller to raise."""
        return ParseError(
            what=f"{self.what} {name}",
            where=where(self.base + self.at - size, size),
            expected=expected,
            found=found,
            fix=fix or self.fix,
            source=self.source,
        )

    def alg(self, name: str, allowed: frozenset[Alg], meaning: str = "") -> Alg:
        """Return the next 2 bytes as one of the `allowed` algorithms. Raises `ParseError` for any other number."""
        number = int.from_bytes(self.take(2, name), "big")
        if number not in allowed:
            names = ", ".join(sorted(a.name.lower() for a in allowed))
            raise self.refuse(2, name, expected=f"one of {names}", found=f"{alg_name(number)} (0x{number:04x})")
        alg = Alg(number)
        self.record(2, name, alg.name.lower(), meaning)
        return alg

    def yes_no(self, name: str, meaning: str = "") -> bool:
        """Return the next byte as a TPMI_YES_NO. Raises `ParseError` if it is neither 0 nor 1."""
        number = self.take(1, name)[0]
        if number > 1:
            raise self.refuse(1, name, expected="0 or 1", found=str(number))
        self.record(1, name, number, meaning)
        return bool(number)

    def literal(self, value: bytes, name: str, *, meaning: str = "", fix: str = "") -> None:
        """Return nothing if the next bytes are `value`. Raises `ParseError` if not."""
        found = self.take(len(value), name)
        if found != value:
            raise self.refuse(len(value), name, expected=f"0x{value.hex()}", found=f"0x{found.hex()}", fix=fix)
        self.record(len(value), name, value.hex(), meaning)
