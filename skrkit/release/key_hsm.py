"""The `key_hsm` member of a released key: the private key, wrapped twice. Text to model, no trust."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from skrkit.encoding import b64url_bytes, json_object, member
from skrkit.errors import ParseError
from skrkit.release.request import Enc
from skrkit.wire import Json, Span, pointer

SCHEMA_VERSION = "1.0"
KWP_BLOCK = 8
KWP_MIN_BYTES = 16  # RFC 5649: one block of integrity check and at least one of data
RSA_2048_BYTES = 256
MAX_KEY_HSM_BYTES = 64 * 1024  # RSA-4096 makes 3.7 kB
_FIX = "Take response.key.key.key_hsm of the release response as it came."
_SOURCE = "Key Vault release, key_hsm envelope"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHsm:
    """The envelope: `ciphertext` is RSA-OAEP(wrapping key, AES key), then AES-KWP(AES key, private key).

    `kid` names the wrapping key, from the token's `x-ms-runtime.keys`; on a confidential VM it is
    TpmEphemeralEncryptionKey. `alg` is always "dir". `unknown` are the pointers of members not recognised.
    """

    schema_version: str
    kid: str
    alg: str
    enc: Enc
    ciphertext: bytes = field(repr=False)
    unknown: tuple[str, ...] = ()
    raw: bytes = field(repr=False)

    kind: ClassVar[str] = "key-hsm"
    title: ClassVar[str] = "key_hsm: the wrapped private key"

    def split(self, modulus_bytes: int = RSA_2048_BYTES) -> tuple[bytes, bytes]:
        """Return the wrapped AES key, as long as the wrapping key's modulus, and the wrapped private key.

        Raises `ParseError` if what is left is no RFC 5649 output: a multiple of 8 bytes, 16 at least.
        """
        wrapped_key = self.ciphertext[modulus_bytes:]
        if len(wrapped_key) < KWP_MIN_BYTES or len(wrapped_key) % KWP_BLOCK:
            raise ParseError(
                what="key_hsm ciphertext",
                where="/ciphertext",
                expected=f"{modulus_bytes} bytes and then a multiple of {KWP_BLOCK}, at least {KWP_MIN_BYTES}",
                found=f"{len(self.ciphertext)} bytes in all",
                fix="Split at the size of the wrapping key's modulus: 256 for RSA-2048, 384 for 3072, 512 for 4096.",
                source="RFC 5649 section 4; " + _SOURCE,
            )
        return self.ciphertext[:modulus_bytes], wrapped_key

    def fields(self) -> dict[str, Json]:
        """Return the envelope's members, and the ciphertext split for an RSA-2048 wrapping key."""
        wrapped_kek, wrapped_key = self.split()
        members: dict[str, Json] = {
            "schema_version": self.schema_version,
            "header": {"kid": self.kid, "alg": self.alg, "enc": self.enc.value},
            "ciphertext_length": len(self.ciphertext),
            "wrapped_kek_length": len(wrapped_kek),
            "wrapped_kek": wrapped_kek.hex(),
            "wrapped_key_length": len(wrapped_key),
            "wrapped_key": wrapped_key.hex(),
        }
        if self.unknown:
            members["not_recognised"] = list(self.unknown)
        return members

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: the envelope is text."""
        return ()


def parse_key_hsm(data: str | bytes) -> KeyHsm:
    """Return the envelope in a `key_hsm`: its base64url text, or the JSON inside.

    Raises `ParseError`: not base64url or JSON, another schema version (a BYOK import file has 1.0.0), another
    `alg` than dir, an unknown `enc`, a ciphertext that no wrapping key of RSA-2048 or more can have made.
    """
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    text = raw
    if not raw.lstrip(b" \t\r\n").startswith(b"{"):
        text = b64url_bytes(raw.decode("latin-1"), what="key_hsm", where="the whole text")
    document = json_object(text, what="key_hsm", where="the whole text", limit=MAX_KEY_HSM_BYTES)
    version = _one_of(document, "schema_version", (SCHEMA_VERSION,), "")
    header = member(document, "header", dict, what="key_hsm")
    assert isinstance(header, dict)
    at = pointer("header")
    ciphertext = str(member(document, "ciphertext", str, what="key_hsm"))
    key_hsm = KeyHsm(
        schema_version=version,
        kid=str(member(header, "kid", str, what="key_hsm", at=at)),
        alg=_one_of(header, "alg", ("dir",), at),
        enc=Enc(_one_of(header, "enc", tuple(enc.value for enc in Enc), at)),
        ciphertext=b64url_bytes(ciphertext, what="key_hsm ciphertext", where="/ciphertext"),
        unknown=(
            *(pointer(name) for name in document if name not in ("schema_version", "header", "ciphertext")),
            *(at + pointer(name) for name in header if name not in ("kid", "alg", "enc")),
        ),
        raw=raw,
    )
    key_hsm.split()  # refuses sizes that nothing can have made
    return key_hsm


def _one_of(parent: dict[str, Json], name: str, allowed: tuple[str, ...], at: str) -> str:
    value = str(member(parent, name, str, what="key_hsm", at=at))
    if value not in allowed:
        byok = value == "1.0.0" and name == "schema_version"
        raise ParseError(
            what=f"key_hsm {name}",
            where=at + pointer(name),
            expected=" or ".join(allowed),
            found=repr(value[:80]),
            fix="1.0.0 is a file for importing a key (BYOK), not a released one." if byok else _FIX,
            source=_SOURCE,
        )
    return value
