"""The sealed envelope in which guest attestation returns its token: only the vTPM that asked can open it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from skrkit.encoding import any_b64_bytes, json_object, member
from skrkit.errors import ParseError, VerificationError
from skrkit.token.decode import MAX_TOKEN_BYTES
from skrkit.wire import Json, Span, pointer

AAD = b"Transport Key"
INNER_KEY_BYTES = 256  # RSA-2048, the vTPM's ephemeral key
IV_BYTES = 12
TAG_BYTES = 16
AES_KEY_BYTES = (16, 24, 32)
MAX_ENVELOPE_BYTES = 256 * 1024
_FIXED = {"Cipher": "AES", "BlockMode": "ChainingModeGCM", "BlockPadding": "PKCS7"}
_FIX = "Pass MAA's answer to /attest/AzureGuest as it came. An open token starts with eyJ: decode it as a JWT."
_SOURCE = "Azure guest attestation client library, TpmUnseal.cpp"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedEnvelope:
    """An AES-GCM sealed token, with the AES key under RSAES-PKCS1-v1_5 for the vTPM's ephemeral key.

    `encrypted_inner_key`: 256 bytes. `iv`: 12. `tag`: 16, what MAA names AuthenticationData. `ciphertext` has the
    token's length. `key_size_bits` is what the envelope says; its clients only want it to be non-zero.
    """

    encrypted_inner_key: bytes = field(repr=False)
    iv: bytes
    tag: bytes
    ciphertext: bytes = field(repr=False)
    key_size_bits: int
    unknown: tuple[str, ...] = ()
    raw: bytes = field(repr=False)

    kind: ClassVar[str] = "sealed-envelope"
    title: ClassVar[str] = "Sealed attestation token"

    def fields(self) -> dict[str, Json]:
        """Return every member by MAA's own name; the ciphertext by its length alone."""
        members: dict[str, Json] = {
            "EncryptedInnerKey": self.encrypted_inner_key.hex(),
            "EncryptionParams": {**_FIXED, "KeySizeInBits": self.key_size_bits, "Iv": self.iv.hex()},
            "AuthenticationData": self.tag.hex(),
            "Jwt_length": len(self.ciphertext),
        }
        if self.unknown:
            members["not_recognised"] = list(self.unknown)
        return members

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: the envelope is text."""
        return ()


def parse_sealed_envelope(data: bytes | str) -> SealedEnvelope:
    """Return the sealed envelope in MAA's answer, `{"token": base64url}`, or in that token already decoded.

    Every member is checked by name; unknown ones are kept by name. A leading zero byte before a 256-byte inner
    key is dropped, as Microsoft's clients do. Raises `ParseError`. Source: guest attestation protocol 2.0.
    """
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    document = json_object(raw, what="sealed envelope", where="the whole answer", limit=MAX_ENVELOPE_BYTES)
    if "token" in document:
        text = str(member(document, "token", str, what="sealed envelope"))
        inner = any_b64_bytes(text, what="sealed envelope token", where="/token")
        document = json_object(inner, what="sealed envelope token", where="/token", limit=MAX_ENVELOPE_BYTES)
    parameters = member(document, "EncryptionParams", dict, what="sealed envelope")
    assert isinstance(parameters, dict)
    at = pointer("EncryptionParams")
    for name, expected in _FIXED.items():
        _exactly(parameters, name, expected, at)
    known = {"EncryptedInnerKey", "EncryptionParams", "AuthenticationData", "Jwt"}
    known_parameters = {*_FIXED, "KeySizeInBits", "Iv"}
    return SealedEnvelope(
        encrypted_inner_key=_inner_key(document),
        iv=_bytes(parameters, "Iv", IV_BYTES, at),
        tag=_bytes(document, "AuthenticationData", TAG_BYTES, ""),
        ciphertext=_ciphertext(document),
        key_size_bits=_key_size(parameters, at),
        unknown=(
            *(pointer(name) for name in document if name not in known),
            *(at + pointer(name) for name in parameters if name not in known_parameters),
        ),
        raw=raw,
    )


def open_envelope(envelope: SealedEnvelope, decrypt_inner_key: Callable[[bytes], bytes]) -> str:
    """Return the compact JWT that the envelope holds, not verified.

    `decrypt_inner_key` is the vTPM: given 256 bytes, it returns what RSAES-PKCS1-v1_5 makes of them, an AES key of
    16, 24 or 32 bytes. Raises `VerificationError`: step `envelope.inner_key` for a key of another size,
    `envelope.tag` when key, IV, tag and ciphertext do not belong together, `envelope.jwt` for contents that are
    not ASCII. What the callback raises passes through. Source: guest attestation protocol 2.0.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key = decrypt_inner_key(envelope.encrypted_inner_key)
    if len(key) not in AES_KEY_BYTES:
        raise VerificationError(
            step="envelope.inner_key",
            what="inner key of the sealed token",
            where="/EncryptedInnerKey",
            expected="an AES key of 16, 24 or 32 bytes",
            found=f"{len(key)} bytes",
            fix="Decrypt with the ephemeral key of this very attestation, scheme RSAES.",
            source=_SOURCE,
        )
    try:
        plain = AESGCM(key).decrypt(envelope.iv, envelope.ciphertext + envelope.tag, AAD)
    except InvalidTag:
        raise VerificationError(
            step="envelope.tag",
            what="AES-GCM tag of the sealed token",
            where="/AuthenticationData",
            expected="the tag over Jwt with this key, this Iv and the data 'Transport Key'",
            found="another one: the envelope was changed, or the key is not its own",
            fix="Attest again; the envelope belongs to one ephemeral key and one answer.",
            source=_SOURCE,
        ) from None
    try:
        return plain.decode("ascii")
    except UnicodeDecodeError:
        raise VerificationError(
            step="envelope.jwt",
            what="contents of the sealed token",
            where="/Jwt, decrypted",
            expected="a compact JWT in ASCII",
            found=f"{len(plain)} bytes that are not ASCII",
            fix="Attest again.",
            source=_SOURCE,
        ) from None


def _exactly(parent: dict[str, Json], name: str, expected: str, at: str) -> None:
    found = member(parent, name, str, what="sealed envelope", at=at)
    if found != expected:
        raise ParseError(
            what=f"sealed envelope {name}",
            where=at + pointer(name),
            expected=repr(expected),
            found=repr(found),
            fix=_FIX,
            source=_SOURCE,
        )


def _bytes(parent: dict[str, Json], name: str, size: int, at: str) -> bytes:
    text = str(member(parent, name, str, what="sealed envelope", at=at))
    value = any_b64_bytes(text, what=f"sealed envelope {name}", where=at + pointer(name))
    if len(value) != size:
        raise ParseError(
            what=f"sealed envelope {name}",
            where=at + pointer(name),
            expected=f"base64 of {size} bytes",
            found=f"{len(value)} bytes",
            fix=_FIX,
            source=_SOURCE,
        )
    return value


def _inner_key(document: dict[str, Json]) -> bytes:
    text = str(member(document, "EncryptedInnerKey", str, what="sealed envelope"))
    value = any_b64_bytes(text, what="sealed envelope EncryptedInnerKey", where="/EncryptedInnerKey")
    if len(value) == INNER_KEY_BYTES + 1 and value[0] == 0:
        return value[1:]
    return _bytes(document, "EncryptedInnerKey", INNER_KEY_BYTES, "")


def _ciphertext(document: dict[str, Json]) -> bytes:
    text = str(member(document, "Jwt", str, what="sealed envelope"))
    value = any_b64_bytes(text, what="sealed envelope Jwt", where="/Jwt")
    if not 0 < len(value) <= MAX_TOKEN_BYTES:
        raise ParseError(
            what="sealed envelope Jwt",
            where="/Jwt",
            expected=f"base64 of 1 to {MAX_TOKEN_BYTES} bytes",
            found=f"{len(value)} bytes",
            fix=_FIX,
            source=_SOURCE,
        )
    return value


def _key_size(parameters: dict[str, Json], at: str) -> int:
    value = member(parameters, "KeySizeInBits", int, what="sealed envelope", at=at)
    if not isinstance(value, int) or value <= 0:
        raise ParseError(
            what="sealed envelope KeySizeInBits",
            where=at + pointer("KeySizeInBits"),
            expected="an integer above zero",
            found=str(value),
            fix=_FIX,
            source=_SOURCE,
        )
    return value
