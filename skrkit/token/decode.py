"""Compact JWS and JWT: text to model, strictly. Nothing here is trusted; `verify_token` makes trust."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from skrkit.encoding import b64url, b64url_bytes, json_object
from skrkit.errors import ParseError
from skrkit.wire import Json, Span

MAX_TOKEN_BYTES = 64 * 1024  # an MAA guest token is 4.5-6 kB; 64 KiB is a wide bound
MAX_DEPTH = 32  # an MAA token nests five deep; nothing that reads claims need recurse further
_PARTS = ("header", "payload", "signature")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactJws:
    """The three parts of a compact JWS, decoded. `signing_input` is the text that the signature covers."""

    header: dict[str, Json]
    payload: dict[str, Json] = field(repr=False)
    signature: bytes = field(repr=False)
    signing_input: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedToken:
    """A JWT that nobody has vouched for yet. `raw` is the compact text as received; it never shows in a repr."""

    header: dict[str, Json]
    claims: dict[str, Json] = field(repr=False)
    signature: bytes = field(repr=False)
    raw: bytes = field(repr=False)

    kind: ClassVar[str] = "jwt"
    title: ClassVar[str] = "JSON Web Token, not verified"

    def fields(self) -> dict[str, Json]:
        """Return header, claims and the signature's length; never the token itself, which is a secret."""
        return {"header": self.header, "claims": self.claims, "signature_length": len(self.signature)}

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: a JWT is text."""
        return ()


def decode_jwt(text: str | bytes) -> UnverifiedToken:
    """Return the header, claims and signature of a compact JWT, unverified.

    `text`: three parts of unpadded base64url with a dot between, at most 64 KiB; header and payload are JSON
    objects without a member twice, nested 32 deep at most. An empty signature decodes (`alg` none has one) and
    never verifies. Raises `ParseError`. Source: RFC 7515 section 7.1, RFC 7519 section 7.2.
    """
    jws = decode_compact_jws(text, what="JWT", limit=MAX_TOKEN_BYTES)
    return UnverifiedToken(
        header=jws.header, claims=jws.payload, signature=jws.signature, raw=jws.signing_input + b"." + _tail(text)
    )


def _tail(text: str | bytes) -> bytes:
    encoded = text.encode("ascii") if isinstance(text, str) else text
    return encoded.rpartition(b".")[2]


def decode_compact_jws(text: str | bytes, *, what: str, limit: int) -> CompactJws:
    """Return the parts of a compact JWS whose header and payload are JSON objects. `what` names it in errors.

    Raises `ParseError`: above `limit` bytes, not three parts, not base64url, not canonical, not JSON, a member
    twice, too deep. Source: RFC 7515 section 7.1.
    """
    raw = _ascii(text, what=what, limit=limit)
    parts = raw.split(".")
    if len(parts) != len(_PARTS):
        raise ParseError(
            what=what,
            where="the whole text",
            expected="three parts with a dot between",
            found=f"{len(parts)} part{'' if len(parts) == 1 else 's'}",
            fix="Pass the compact form, header.payload.signature, with nothing before or after it.",
            source="RFC 7515 section 7.1",
        )
    header, payload, signature = (
        _part(part, what=f"{what} {name}", where=f"part {number}")
        for number, (part, name) in enumerate(zip(parts, _PARTS, strict=True), 1)
    )
    return CompactJws(
        header=_object(header, what=f"{what} header", where="part 1"),
        payload=_object(payload, what=f"{what} payload", where="part 2"),
        signature=signature,
        signing_input=raw.rpartition(".")[0].encode("ascii"),
    )


def _ascii(text: str | bytes, *, what: str, limit: int) -> str:
    found = f"{len(text)} bytes"
    if len(text) <= limit:
        try:
            return text.decode("ascii") if isinstance(text, bytes) else text.encode("ascii").decode("ascii")
        except UnicodeError:
            found = "a character outside ASCII"
    raise ParseError(
        what=what,
        where="the whole text",
        expected=f"at most {limit} bytes of ASCII",
        found=found,
        fix="Pass the compact form as the service gave it.",
        source="RFC 7515 section 7.1",
    )


def _part(text: str, *, what: str, where: str) -> bytes:
    data = b64url_bytes(text, what=what, where=where)
    # Two texts for one signature would let a token be counted as two: the spare bits of the last character are zero.
    if b64url(data[len(data) // 3 * 3 :]) != text[len(text) // 4 * 4 :]:
        raise ParseError(
            what=what,
            where=where,
            expected="canonical base64url, the spare bits of its last character zero",
            found=f"{text[-1:]!r} as last character, where the bytes have {b64url(data)[-1:]!r}",
            fix="Pass the compact form as the service gave it.",
            source="RFC 4648 section 3.5",
        )
    return data


def _object(data: bytes, *, what: str, where: str) -> dict[str, Json]:
    value = json_object(data, what=what, where=where)
    check_depth(value, what=what, where=where)
    return value


def check_depth(value: Json, *, what: str, where: str, limit: int = MAX_DEPTH) -> None:
    """Return nothing if `value` nests at most `limit` deep. Raises `ParseError` beyond it."""
    level: list[Json] = [value]
    for _ in range(limit):
        inner: list[Json] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        if not inner:
            return
        level = inner
    if any(isinstance(item, dict | list) for item in level):
        raise ParseError(
            what=what,
            where=where,
            expected=f"objects and arrays nested at most {limit} deep",
            found="deeper nesting",
            fix="Pass the document as the service gave it.",
        )
