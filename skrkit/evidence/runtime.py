"""Runtime claims: the JSON that the paravisor binds to the hardware report by hash. Text to a model, no trust."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from skrkit.encoding import b64url_bytes, json_object, json_type, member
from skrkit.errors import ParseError
from skrkit.wire import Json, Span, pointer

AK_KID = "HCLAkPub"
EK_KID = "HCLEkPub"
MAX_CLAIMS_BYTES = 4096  # the NV index holds 2600 to 2900 bytes, report included
SOURCE = "Azure HCL runtime claims, as openvmm and azure-cvm-tooling write them"
_WHAT = "runtime claims"


@dataclass(frozen=True, slots=True, kw_only=True)
class Jwk:
    """A public key of the runtime claims (RFC 7517). `n` and `e` are big-endian bytes, None for a type but RSA.

    `HCLAkPub` is the vTPM's attestation key, `HCLEkPub` its endorsement key. Do not depend on `key_ops`: the
    attestation key's is "encrypt" in images of 2022 and 2023.
    """

    kid: str
    kty: str
    key_ops: tuple[str, ...]
    n: bytes | None
    e: bytes | None

    def public_numbers(self) -> tuple[int, int]:
        """Return modulus and exponent. Raises `ParseError` for a key that is not RSA."""
        if self.n is None or self.e is None:
            raise ParseError(
                what=f"{_WHAT} key {self.kid}",
                where=f"the key {self.kid}, member kty",
                expected="RSA, with n and e",
                found=self.kty,
                fix="Azure's paravisor puts RSA keys here; read the blob again.",
                source=SOURCE,
            )
        return int.from_bytes(self.n, "big"), int.from_bytes(self.e, "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeClaims:
    """Parsed runtime claims. `document` is the JSON as it stands, unknown members included; `raw` is what is hashed.

    `vm_configuration` and `user_data` are empty where the claims have none: claims of 2022 and 2023 lack `user-data`.
    """

    kind: ClassVar[str] = "runtime-claims"
    title: ClassVar[str] = "Azure runtime claims"

    raw: bytes
    document: Mapping[str, Json]
    keys: tuple[Jwk, ...]
    vm_configuration: Mapping[str, Json]
    user_data: bytes

    def key(self, kid: str) -> Jwk:
        """Return the key of that id. Raises `ParseError` when the claims have none."""
        for jwk in self.keys:
            if jwk.kid == kid:
                return jwk
        raise ParseError(
            what=f"{_WHAT} key",
            where="/keys",
            expected=f"a key with kid {kid}",
            found=", ".join(jwk.kid for jwk in self.keys) or "no key",
            fix="Read NV index 0x01400001 again; claims of 2022 and 2023 have HCLAkPub only.",
            source=SOURCE,
        )

    @property
    def vm_unique_id(self) -> str:
        """The VM's unique id as it stands. Compare without regard to case. Raises `ParseError` when there is none."""
        return str(member(dict(self.vm_configuration), "vmUniqueId", str, what=_WHAT, at="/vm-configuration"))

    def fields(self) -> dict[str, Json]:
        """Return the claims as they stand, unknown members included."""
        return dict(self.document)

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: the claims are text."""
        return ()


def parse_runtime_claims(data: bytes) -> RuntimeClaims:
    """Return the runtime claims in `data`: UTF-8 JSON, without the padding that follows it in the NV index.

    Raises `ParseError` with a JSON pointer: not JSON, a member twice, no `keys`, two keys of one id, a key that is
    not a JWK, `user-data` that is not hex. Unknown members are kept.
    Source: github.com/microsoft/openvmm, runtime claims; RFC 7517 and RFC 7518 section 6.3.
    """
    document = json_object(data, what=_WHAT, where="the runtime claims", limit=MAX_CLAIMS_BYTES)
    listed = member(document, "keys", list, what=_WHAT)
    assert isinstance(listed, list)
    keys = tuple(_key(item, index) for index, item in enumerate(listed))
    kids = [key.kid for key in keys]
    for index, kid in enumerate(kids):
        if kid in kids[:index]:
            raise _refuse("kid", pointer("keys", index, "kid"), "each kid once", f"{kid} twice")
    configuration = document.get("vm-configuration", {})
    if not isinstance(configuration, dict):
        raise _refuse("vm-configuration", "/vm-configuration", "an object", f"a JSON {json_type(configuration)}")
    return RuntimeClaims(
        raw=data,
        document=MappingProxyType(document),
        keys=keys,
        vm_configuration=MappingProxyType(configuration),
        user_data=_user_data(document),
    )


def _key(item: Json, index: int) -> Jwk:
    at = pointer("keys", index)
    if not isinstance(item, dict):
        raise _refuse("key", at, "an object", f"a JSON {json_type(item)}")
    kid = member(item, "kid", str, what=_WHAT, at=at)
    kty = member(item, "kty", str, what=_WHAT, at=at)
    operations = item.get("key_ops", [])
    if not isinstance(operations, list) or not all(isinstance(name, str) for name in operations):
        raise _refuse("key_ops", f"{at}/key_ops", "an array of strings", f"a JSON {json_type(operations)}")
    n = e = None
    if kty == "RSA":
        n, e = _number(item, "n", at), _number(item, "e", at)
    return Jwk(kid=str(kid), kty=str(kty), key_ops=tuple(map(str, operations)), n=n, e=e)


def _number(item: dict[str, Json], name: str, at: str) -> bytes:
    text = str(member(item, name, str, what=_WHAT, at=at))
    number = b64url_bytes(text, what=f"{_WHAT} {name}", where=f"{at}/{name}")
    if not any(number):
        raise _refuse(name, f"{at}/{name}", "a number above zero", "no bytes" if not number else "zero")
    return number


def _user_data(document: dict[str, Json]) -> bytes:
    if "user-data" not in document:
        return b""
    text = str(member(document, "user-data", str, what=_WHAT))
    try:
        if not text.isalnum():  # bytes.fromhex would skip white space
            raise ValueError("not hex digits")
        return bytes.fromhex(text)
    except ValueError:
        if not text:
            return b""
        raise _refuse(
            "user-data", "/user-data", "hex digits, two a byte", f"{len(text)} characters: {text[:16]!r}"
        ) from None


def _refuse(name: str, at: str, expected: str, found: str) -> ParseError:
    return ParseError(
        what=f"{_WHAT} {name}",
        where=at,
        expected=expected,
        found=found,
        fix="Read NV index 0x01400001 again and pass its bytes unchanged.",
        source=SOURCE,
    )
