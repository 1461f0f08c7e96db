"""JWK sets: the keys that an attestation provider publishes at `/certs`. Bytes to model, no trust."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from skrkit.encoding import any_b64_bytes, b64url_bytes, json_object, json_type, member
from skrkit.errors import ParseError
from skrkit.token.decode import check_depth
from skrkit.wire import Json, Span, pointer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

MAX_JWKS_BYTES = 1 << 20  # MAA's own is some 10-60 kB: certificates with an SNP report inside
_FIX = "Fetch <provider>/certs again and pass the answer as it came."
_SOURCE = "RFC 7517 section 4; Azure Attestation, Signing Certificates"


@lru_cache(maxsize=64)
def _rsa_key(exponent: int, modulus: int) -> RSAPublicKey:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    return RSAPublicNumbers(exponent, modulus).public_key()


@dataclass(frozen=True, slots=True, kw_only=True)
class JwksKey:
    """One published key. `modulus` and `exponent` are 0 for a key that is not RSA, which never verifies a token.

    `x5c` are DER certificates, the key's own first. `use` and `alg` are empty when the entry has none.
    """

    kid: str
    kty: str
    use: str
    alg: str
    modulus: int = field(repr=False)
    exponent: int
    x5c: tuple[bytes, ...] = field(repr=False)
    members: dict[str, Json] = field(repr=False, compare=False)

    @property
    def bits(self) -> int:
        """The size of the modulus in bits."""
        return self.modulus.bit_length()

    def public_key(self) -> RSAPublicKey:
        """Return the key for `cryptography`. Raises `ParseError` if the numbers make no RSA key."""
        try:
            return _rsa_key(self.exponent, self.modulus)
        except ValueError as cause:
            raise ParseError(
                what=f"JWK {self.kid}",
                where="/n and /e",
                expected="an RSA public key",
                found=f"numbers that make none ({cause})",
                fix=_FIX,
                source=_SOURCE,
            ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Jwks:
    """A JWK set, in the order published. Several entries are normal: purposes, and overlap during rotation."""

    keys: tuple[JwksKey, ...]
    raw: bytes = field(repr=False)

    kind: ClassVar[str] = "jwks"
    title: ClassVar[str] = "JWK set"

    def with_kid(self, kid: str) -> tuple[JwksKey, ...]:
        """Return the entries of this kid, none or more. A kid is an opaque text: compared as it is."""
        return tuple(key for key in self.keys if key.kid == kid)

    def fields(self) -> dict[str, Json]:
        """Return each entry by name, with the size of its key and the number of its certificates."""
        entries: list[Json] = [
            {
                "kid": key.kid,
                "kty": key.kty,
                "use": key.use,
                "alg": key.alg,
                "modulus_bits": key.bits,
                "e": key.exponent,
                "certificates": len(key.x5c),
            }
            for key in self.keys
        ]
        return {"keys": entries}

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: a JWK set is text."""
        return ()


def parse_jwks(data: bytes | str) -> Jwks:
    """Return the keys of a JWK set. Each entry has kid and kty; an RSA entry has n and e, or x5c, or both.

    With both, they must be the same key. Unknown members are kept in `members`. Raises `ParseError`: not a set,
    no entry, an entry that is incomplete or contradicts itself. Source: RFC 7517; Azure Attestation publishes
    x5c and does not promise n and e.
    """
    document = json_object(data, what="JWK set", where="the whole document", limit=MAX_JWKS_BYTES)
    check_depth(document, what="JWK set", where="the whole document")
    entries = member(document, "keys", list, what="JWK set")
    assert isinstance(entries, list)
    if not entries:
        raise ParseError(
            what="JWK set keys", where="/keys", expected="at least one key", found="none", fix=_FIX, source=_SOURCE
        )
    keys = tuple(_key(entry, pointer("keys", index)) for index, entry in enumerate(entries))
    return Jwks(keys=keys, raw=data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))


def _key(entry: Json, at: str) -> JwksKey:
    if not isinstance(entry, dict):
        raise ParseError(
            what="JWK", where=at, expected="an object", found=f"a JSON {json_type(entry)}", fix=_FIX, source=_SOURCE
        )
    kid, kty = (str(member(entry, name, str, what="JWK", at=at)) for name in ("kid", "kty"))
    modulus, exponent, x5c = _rsa(entry, at) if kty == "RSA" else (0, 0, ())
    return JwksKey(
        kid=kid,
        kty=kty,
        use=_optional(entry, "use", at),
        alg=_optional(entry, "alg", at),
        modulus=modulus,
        exponent=exponent,
        x5c=x5c,
        members=entry,
    )


def _optional(entry: dict[str, Json], name: str, at: str) -> str:
    return str(member(entry, name, str, what="JWK", at=at)) if name in entry else ""


def _rsa(entry: dict[str, Json], at: str) -> tuple[int, int, tuple[bytes, ...]]:
    plain = _plain_numbers(entry, at) if "n" in entry or "e" in entry else None
    x5c = _x5c(entry, at) if "x5c" in entry else ()
    certified = _certified_numbers(x5c[0], at) if x5c else None
    if plain is None and certified is None:
        raise ParseError(
            what="RSA JWK", where=at, expected="n and e, or x5c", found="neither", fix=_FIX, source=_SOURCE
        )
    if plain is not None and certified is not None and plain != certified:
        raise ParseError(
            what="RSA JWK",
            where=at,
            expected="n and e of the key in x5c[0]",
            found=f"another key: n begins {_prefix(plain[0])}, the certificate's {_prefix(certified[0])}",
            fix=_FIX,
            source="RFC 7517 section 4.7",
        )
    modulus, exponent = plain or certified or (0, 0)
    return modulus, exponent, x5c


def _prefix(modulus: int) -> str:
    return modulus.to_bytes((modulus.bit_length() + 7) // 8, "big")[:8].hex()


def _plain_numbers(entry: dict[str, Json], at: str) -> tuple[int, int]:
    numbers = []
    for name in ("n", "e"):
        text = str(member(entry, name, str, what="JWK", at=at))
        data = b64url_bytes(text, what=f"JWK {name}", where=at + pointer(name))
        if not data.strip(b"\0"):
            raise ParseError(
                what=f"JWK {name}",
                where=at + pointer(name),
                expected="base64url of a positive integer, big-endian",
                found="zero" if data else "empty text",
                fix=_FIX,
                source="RFC 7518 section 6.3.1",
            )
        numbers.append(int.from_bytes(data, "big"))
    return numbers[0], numbers[1]


def _x5c(entry: dict[str, Json], at: str) -> tuple[bytes, ...]:
    texts = member(entry, "x5c", list, what="JWK", at=at)
    assert isinstance(texts, list)
    certificates = []
    for index, text in enumerate(texts):
        place = at + pointer("x5c", index)
        if not isinstance(text, str):
            raise ParseError(
                what="JWK x5c", where=place, expected="a string", found=f"a JSON {json_type(text)}", fix=_FIX
            )
        certificates.append(any_b64_bytes(text, what="JWK x5c", where=place))
    if not certificates:
        raise ParseError(
            what="JWK x5c", where=at + pointer("x5c"), expected="at least one certificate", found="none", fix=_FIX
        )
    return tuple(certificates)


def _certified_numbers(der: bytes, at: str) -> tuple[int, int]:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    found = ""
    try:
        key = x509.load_der_x509_certificate(der).public_key()
        if isinstance(key, RSAPublicKey):
            return key.public_numbers().n, key.public_numbers().e
        found = f"a key of another type, {type(key).__name__}"
    except (ValueError, TypeError, UnsupportedAlgorithm) as cause:
        found = f"{len(der)} bytes that are none ({cause})"
    raise ParseError(
        what="JWK x5c[0]",
        where=at + pointer("x5c", 0),
        expected="a DER certificate with an RSA key",
        found=found,
        fix=_FIX,
        source=_SOURCE,
    )
