"""TPMT_PUBLIC: the public area of a TPM object, and the Name that is its hash. Big-endian, no trust."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntFlag
from typing import ClassVar, NotRequired, TypedDict

from skrkit.errors import ParseError
from skrkit.tpm.algorithms import (
    HASHES,
    MAX_DIGEST_BYTES,
    MAX_ECC_BYTES,
    MAX_NAME_BYTES,
    MAX_RSA_BYTES,
    OBJECT_TYPES,
    SOURCE,
    Alg,
    Curve,
    TpmCursor,
    hash_bytes,
)
from skrkit.wire import Json, Span

DEFAULT_EXPONENT = 65537  # what exponent 0 stands for
_RSA_SCHEMES = frozenset({Alg.NULL, Alg.RSASSA, Alg.RSAES, Alg.RSAPSS, Alg.OAEP})
_ECC_SCHEMES = frozenset({Alg.NULL, Alg.ECDSA, Alg.ECDH})
_KEYEDHASH_SCHEMES = frozenset({Alg.NULL, Alg.HMAC, Alg.XOR})
_KDFS = frozenset({Alg.NULL, Alg.MGF1, Alg.KDF1_SP800_56A, Alg.KDF1_SP800_108})
_WITHOUT_HASH = frozenset({Alg.NULL, Alg.RSAES})


class ObjectAttributes(IntFlag):
    """TPMA_OBJECT: what an object is for and who may use it. Reserved bits are refused.

    Source: TPM 2.0 Library, Part 2, "TPMA_OBJECT".
    """

    FIXED_TPM = 1 << 1
    ST_CLEAR = 1 << 2
    FIXED_PARENT = 1 << 4
    SENSITIVE_DATA_ORIGIN = 1 << 5
    USER_WITH_AUTH = 1 << 6
    ADMIN_WITH_POLICY = 1 << 7
    NO_DA = 1 << 10
    ENCRYPTED_DUPLICATION = 1 << 11
    RESTRICTED = 1 << 16
    DECRYPT = 1 << 17
    SIGN = 1 << 18
    X509_SIGN = 1 << 19


_SPELLING = {
    ObjectAttributes.FIXED_TPM: "fixedTPM",
    ObjectAttributes.ST_CLEAR: "stClear",
    ObjectAttributes.FIXED_PARENT: "fixedParent",
    ObjectAttributes.SENSITIVE_DATA_ORIGIN: "sensitiveDataOrigin",
    ObjectAttributes.USER_WITH_AUTH: "userWithAuth",
    ObjectAttributes.ADMIN_WITH_POLICY: "adminWithPolicy",
    ObjectAttributes.NO_DA: "noDA",
    ObjectAttributes.ENCRYPTED_DUPLICATION: "encryptedDuplication",
    ObjectAttributes.RESTRICTED: "restricted",
    ObjectAttributes.DECRYPT: "decrypt",
    ObjectAttributes.SIGN: "sign",
    ObjectAttributes.X509_SIGN: "x509sign",
}
_KNOWN_ATTRIBUTES = sum(_SPELLING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Public:
    """A TPMT_PUBLIC. `tpmt` is its exact bytes, which `name()` hashes; `raw` is what was parsed around it.

    `scheme_hash`, `symmetric_mode` and `kdf_hash` are `Alg.NULL` where the structure has none. `exponent` is as on
    the wire: 0 stands for 65537. `unique` is the RSA modulus or the keyed-hash digest, `x` and `y` are the ECC point.
    """

    kind: ClassVar[str] = "tpm2b-public"
    title: ClassVar[str] = "TPM public area"

    raw: bytes
    tpmt: bytes
    type: Alg
    name_alg: Alg
    attributes: ObjectAttributes
    auth_policy: bytes
    scheme: Alg
    scheme_hash: Alg
    symmetric: Alg = Alg.NULL
    symmetric_bits: int = 0
    symmetric_mode: Alg = Alg.NULL
    key_bits: int = 0
    exponent: int = 0
    curve: Curve | None = None
    kdf: Alg = Alg.NULL
    kdf_hash: Alg = Alg.NULL
    unique: bytes = b""
    x: bytes = b""
    y: bytes = b""
    qualified_name: bytes = b""

    def attribute_names(self) -> tuple[str, ...]:
        """Return the attributes that are set, in the specification's spelling, lowest bit first."""
        return tuple(name for bit, name in _SPELLING.items() if self.attributes & bit)

    def name(self) -> bytes:
        """Return the object's Name: nameAlg u16 and the digest of the TPMT_PUBLIC; 34 bytes with SHA-256."""
        return self.name_alg.to_bytes(2, "big") + hash_bytes(self.name_alg, self.tpmt)

    def marshal(self) -> bytes:
        """Return the TPM2B_PUBLIC: size u16 and the exact bytes of the TPMT_PUBLIC."""
        return len(self.tpmt).to_bytes(2, "big") + self.tpmt

    def rsa_numbers(self) -> tuple[int, int]:
        """Return modulus and exponent of an RSA key. Raises `ParseError` for another type or a template."""
        modulus = int.from_bytes(self.unique, "big")
        if self.type is not Alg.RSA or modulus.bit_length() != self.key_bits:
            raise ParseError(
                what="TPMT_PUBLIC unique",
                where="the end of the structure",
                expected=f"an RSA modulus of {self.key_bits or 2048} bits",
                found=f"{self.type.name.lower()}, {modulus.bit_length()} bits",
                fix="Pass the public area of a made RSA key, not of a template or of another type.",
                source=SOURCE,
            )
        return modulus, self.exponent or DEFAULT_EXPONENT

    def fields(self) -> dict[str, Json]:
        """Return the decoded values; bytes as hex, algorithms by name, attributes as hex and as names."""
        members: dict[str, Json] = {
            "type": self.type.name.lower(),
            "name_alg": self.name_alg.name.lower(),
            "attributes": {"hex": f"0x{int(self.attributes):08x}", "set": list(self.attribute_names())},
            "auth_policy": self.auth_policy.hex(),
            "scheme": self.scheme.name.lower(),
            "scheme_hash": self.scheme_hash.name.lower(),
        }
        if self.type is not Alg.KEYEDHASH:
            members["symmetric"] = self.symmetric.name.lower()
            members["symmetric_bits"] = self.symmetric_bits
        if self.type is Alg.RSA:
            members |= {"key_bits": self.key_bits, "exponent": self.exponent or DEFAULT_EXPONENT}
        if self.curve is not None:
            members |= {"curve": self.curve.name.lower(), "x": self.x.hex(), "y": self.y.hex()}
        else:
            members["unique"] = self.unique.hex()
        members["name"] = self.name().hex()
        if self.qualified_name:
            members["qualified_name"] = self.qualified_name.hex()
        return members

    def spans(self) -> tuple[Span, ...]:
        """Return the annotated bytes, by reading them again."""
        cursor = TpmCursor(self.raw, "TPMT_PUBLIC", silent=False)
        _read_whole(cursor)
        return tuple(cursor.recorded)


def parse_public(data: bytes) -> Public:
    """Return the public area in `data`: a TPMT_PUBLIC, a TPM2B_PUBLIC, or the answer of TPM2_ReadPublic.

    The last is a TPM2B_PUBLIC followed by its Name and qualified Name (each a TPM2B), as one Microsoft client sends it;
    a Name that is not the area's own is refused. The forms are told apart by bytes 2 and 3: a name algorithm or a type.
    Raises `ParseError`: unknown algorithm, reserved attribute, truncated, trailing bytes.
    Source: TPM 2.0 Library, Part 2, "TPMT_PUBLIC" and "TPM2B_PUBLIC".
    """
    return _read_whole(TpmCursor(data, "TPMT_PUBLIC"))


def _read_whole(cursor: TpmCursor) -> Public:
    if int.from_bytes(cursor.data[2:4], "big") not in OBJECT_TYPES:
        public = _read_tpmt(cursor)
        cursor.end()
        return public
    size = cursor.uint(2, "size", "bytes of the public area")
    start = cursor.at
    cursor.take(size, "publicArea")
    cursor.at = start
    public = _read_tpmt(cursor)
    if cursor.at - start != size:
        cursor.at = start
        raise cursor.refuse(2, "size", expected=str(len(public.tpmt)), found=str(size))
    if not cursor.left:
        return public
    name = cursor.sized(2, "name", limit=MAX_NAME_BYTES, meaning="nameAlg and digest of the public area")
    if name != public.name():
        raise cursor.refuse(len(name), "name", expected=public.name().hex(), found=name.hex() or "no bytes")
    qualified = cursor.sized(2, "qualified_name", limit=MAX_NAME_BYTES, meaning="Name below its parents")
    cursor.end()
    return replace(public, qualified_name=qualified)


def _read_tpmt(cursor: TpmCursor) -> Public:
    start = cursor.at
    kind = cursor.alg("type", OBJECT_TYPES, "kind of object")
    name_alg = cursor.alg("nameAlg", HASHES, "hash of the Name and of the policy")
    attributes = _read_attributes(cursor)
    policy = cursor.sized(2, "authPolicy", limit=MAX_DIGEST_BYTES, meaning="policyDigest a policy session must reach")
    parts = _READERS[kind](cursor)
    return Public(
        raw=cursor.data,
        tpmt=cursor.data[start : cursor.at],
        type=kind,
        name_alg=name_alg,
        attributes=attributes,
        auth_policy=policy,
        **parts,
    )


def _read_attributes(cursor: TpmCursor) -> ObjectAttributes:
    number = int.from_bytes(cursor.take(4, "objectAttributes"), "big")
    if number & ~_KNOWN_ATTRIBUTES:
        raise cursor.refuse(4, "objectAttributes", expected="no reserved bit", found=f"0x{number:08x}")
    names = " ".join(name for bit, name in _SPELLING.items() if number & bit)
    cursor.record(4, "objectAttributes", f"0x{number:08x}", names)
    return ObjectAttributes(number)


class _Parts(TypedDict):
    scheme: Alg
    scheme_hash: Alg
    symmetric: NotRequired[Alg]
    symmetric_bits: NotRequired[int]
    symmetric_mode: NotRequired[Alg]
    key_bits: NotRequired[int]
    exponent: NotRequired[int]
    curve: NotRequired[Curve]
    kdf: NotRequired[Alg]
    kdf_hash: NotRequired[Alg]
    unique: NotRequired[bytes]
    x: NotRequired[bytes]
    y: NotRequired[bytes]


def _read_symmetric(cursor: TpmCursor) -> tuple[Alg, int, Alg]:
    alg = cursor.alg("symmetric", frozenset({Alg.NULL, Alg.AES}), "cipher that protects a storage key's children")
    if alg is Alg.NULL:
        return alg, 0, Alg.NULL
    bits = cursor.uint(2, "symmetric keyBits")
    return alg, bits, cursor.alg("symmetric mode", frozenset({Alg.CFB, Alg.NULL}))


def _read_scheme(cursor: TpmCursor, schemes: frozenset[Alg]) -> tuple[Alg, Alg]:
    scheme = cursor.alg("scheme", schemes, "the one scheme the key may be used with; null leaves it to the command")
    return scheme, Alg.NULL if scheme in _WITHOUT_HASH else cursor.alg("scheme hash", HASHES)


def _read_rsa(cursor: TpmCursor) -> _Parts:
    symmetric, symmetric_bits, mode = _read_symmetric(cursor)
    scheme, scheme_hash = _read_scheme(cursor, _RSA_SCHEMES)
    return {
        "symmetric": symmetric,
        "symmetric_bits": symmetric_bits,
        "symmetric_mode": mode,
        "scheme": scheme,
        "scheme_hash": scheme_hash,
        "key_bits": cursor.uint(2, "keyBits", "bits of the modulus"),
        "exponent": cursor.uint(4, "exponent", "0 stands for 65537"),
        "unique": cursor.sized(2, "unique", limit=MAX_RSA_BYTES, meaning="the modulus; empty or zero in a template"),
    }


def _read_ecc(cursor: TpmCursor) -> _Parts:
    symmetric, symmetric_bits, mode = _read_symmetric(cursor)
    scheme, scheme_hash = _read_scheme(cursor, _ECC_SCHEMES)
    number = int.from_bytes(cursor.take(2, "curveID"), "big")
    if number not in set(Curve):
        raise cursor.refuse(2, "curveID", expected="p256, p384 or p521", found=f"0x{number:04x}")
    cursor.record(2, "curveID", Curve(number).name.lower())
    kdf = cursor.alg("kdf", _KDFS)
    return {
        "symmetric": symmetric,
        "symmetric_bits": symmetric_bits,
        "symmetric_mode": mode,
        "scheme": scheme,
        "scheme_hash": scheme_hash,
        "curve": Curve(number),
        "kdf": kdf,
        "kdf_hash": Alg.NULL if kdf is Alg.NULL else cursor.alg("kdf hash", HASHES),
        "x": cursor.sized(2, "unique x", limit=MAX_ECC_BYTES),
        "y": cursor.sized(2, "unique y", limit=MAX_ECC_BYTES),
    }


def _read_keyedhash(cursor: TpmCursor) -> _Parts:
    scheme, scheme_hash = _read_scheme(cursor, _KEYEDHASH_SCHEMES)
    kdf = cursor.alg("scheme kdf", _KDFS) if scheme is Alg.XOR else Alg.NULL
    return {
        "scheme": scheme,
        "scheme_hash": scheme_hash,
        "kdf": kdf,
        "unique": cursor.sized(2, "unique", limit=MAX_DIGEST_BYTES, meaning="digest of the sensitive part"),
    }


_READERS = {Alg.RSA: _read_rsa, Alg.ECC: _read_ecc, Alg.KEYEDHASH: _read_keyedhash}
