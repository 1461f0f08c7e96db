"""Strict base64 and JSON reading, with size limits and errors that say where. Text to bytes, no trust."""

from __future__ import annotations

import base64
import binascii
import json

from skrkit.errors import ParseError
from skrkit.wire import Json, pointer

MAX_JSON_BYTES = 1 << 20  # a release response is 20 kB, a JWKS 10 kB; 1 MiB is a wide bound
_STANDARD_TO_URL = bytes.maketrans(b"+/", b"-_")


def b64url(data: bytes) -> str:
    """Return `data` in base64url (RFC 4648 section 5) without padding, as JOSE and Key Vault write it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def b64url_bytes(text: str, *, what: str, where: str) -> bytes:
    """Return the bytes of a base64url text without padding. Raises `ParseError` for any other character."""
    return _decode(text, what=what, where=where, expected="base64url without padding", tolerant=False)


def any_b64_bytes(text: str, *, what: str, where: str) -> bytes:
    """Return the bytes of base64 or base64url text, padded or not: what MAA takes (its clients send all four)."""
    return _decode(text, what=what, where=where, expected="base64 or base64url", tolerant=True)


def _decode(text: str, *, what: str, where: str, expected: str, tolerant: bool) -> bytes:
    try:
        encoded = text.encode("ascii")
        if tolerant:
            encoded = encoded.translate(_STANDARD_TO_URL).rstrip(b"=")
        elif encoded.endswith(b"=") or b"+" in encoded or b"/" in encoded:
            raise binascii.Error("not the unpadded base64url alphabet")
        return base64.b64decode(encoded + b"=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as cause:
        raise ParseError(
            what=what,
            where=where,
            expected=expected,
            found=f"{len(text)} characters that are not ({cause})",
            fix="Pass the text as the service gave it, with no line break or quote added.",
            source="RFC 4648 section 5",
        ) from None


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        raise _DuplicateMember(next(name for name in names if names.count(name) > 1))
    return members


class _DuplicateMember(ValueError):
    """A JSON object with the same member twice: two readers could see two different values."""


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def json_value(data: bytes | str, *, what: str, where: str, limit: int = MAX_JSON_BYTES) -> Json:
    """Return the JSON value of UTF-8 `data`. Raises `ParseError`: too large, not JSON, a member twice, NaN."""
    found = ""
    if len(data) > limit:
        found = f"{len(data)} bytes, above the limit of {limit}"
    else:
        try:
            text = data.decode("utf-8") if isinstance(data, bytes) else data
            value: Json = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
            return value
        except _DuplicateMember as twice:
            found = f"member {str(twice)!r} twice in one object"
        except (ValueError, RecursionError) as cause:
            found = f"{len(data)} bytes that are not ({cause})"
    raise ParseError(
        what=what,
        where=where,
        expected="one JSON document in UTF-8, no member twice",
        found=found,
        fix="Pass the document as the service gave it.",
        source="RFC 8259",
    )


def json_object(data: bytes | str, *, what: str, where: str, limit: int = MAX_JSON_BYTES) -> dict[str, Json]:
    """Return the JSON object of UTF-8 `data`. Raises `ParseError` as `json_value` does, and for any other type."""
    value = json_value(data, what=what, where=where, limit=limit)
    if not isinstance(value, dict):
        raise ParseError(
            what=what,
            where=where,
            expected="a JSON object",
            found=f"a JSON {json_type(value)}",
            fix="Pass the document as the service gave it.",
            source="RFC 8259",
        )
    return value


def member(parent: dict[str, Json], name: str, kind: type, *, what: str, at: str = "") -> Json:
    """Return member `name` of `parent`, which must be a `kind` (`str`, `int`, `bool`, `list`, `dict`).

    `at` is the JSON pointer of `parent`. Raises `ParseError` if it is absent or of another type.
    """
    value = parent.get(name)
    if name not in parent or not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ParseError(
            what=f"{what} {name}",
            where=at + pointer(name),
            expected=_TYPE_NAMES[kind],
            found="nothing" if name not in parent else f"a JSON {json_type(value)}",
            fix="Pass the document as the service gave it.",
        )
    return value


_TYPE_NAMES = {str: "a string", int: "an integer", bool: "true or false", list: "an array", dict: "an object"}


def json_type(value: Json) -> str:
    """Return the JSON name of a value's type: object, array, string, number, boolean or null."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "array"
    return "string" if isinstance(value, str) else "number"
