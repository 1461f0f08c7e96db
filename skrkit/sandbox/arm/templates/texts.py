"""Template functions on texts: the documented ones, and those that make one text of many values."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import uuid
from typing import Any
from urllib.parse import quote, unquote, urljoin

from skrkit.sandbox.arm.templates.arguments import MAX_TEXT, Arguments, Function, array, number, text, wrong
from skrkit.sandbox.arm.templates.refusals import ExpressionError

_GUID_SPACE = uuid.UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830")  # documented with Bicep's string functions
_ITEM = re.compile(r"\{\{|\}\}|\{(\d+)(?:,(-?\d+))?(?::([^{}]*))?\}")
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


def string_of(value: Any) -> str:
    """Return a value as `string` and `concat` write it: JSON without white space, True and False for booleans."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value)
    return "" if value is None else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _base64_decoded(name: str, value: Any) -> str:
    try:
        return base64.b64decode(text(name, value), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise wrong(name, "valid base64 of a UTF-8 text", value) from None


def _json(name: str, value: Any) -> Any:
    """JSON, and with single quotes where there are no others: Azure's reader takes both, and its examples have them."""
    whole = text(name, value)
    if '"' not in whole:
        whole = re.sub(r"'([^'\\]*)'", r'"\1"', whole)
    try:
        return json.loads(whole)
    except (ValueError, RecursionError):
        raise wrong(name, "valid JSON", value) from None


def _data_uri_to_string(given: Arguments) -> str:
    head, comma, data = text("dataUriToString", given[0]).partition(",")
    if not head.lower().startswith("data:") or not comma:
        raise wrong("dataUriToString", "a data URI", given[0])
    return _base64_decoded("dataUriToString", data) if head.lower().endswith(";base64") else unquote(data)


def _formatted(given: Arguments) -> str:
    """The .NET composite format, of which items, widths, N, D, F, P and X are known; others stand as they are."""

    def item(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        place = int(match[1][:4]) + 1
        if place >= len(given):
            raise ExpressionError(
                "Unable to evaluate template language function 'format': the format item index is out of range of the "
                "arguments."
            )
        shown, width = _number_format(given[place], match[3] or ""), int((match[2] or "0")[:6])
        if abs(width) > MAX_TEXT:
            raise wrong("format", f"of a width up to {MAX_TEXT}", width)
        return shown.rjust(width) if width > 0 else shown.ljust(-width)

    return _ITEM.sub(item, text("format", given[0]))


def _number_format(value: Any, form: str) -> str:
    match = re.fullmatch(r"([NDFPXndfpx])(\d{0,2})", form)
    if match is None or isinstance(value, bool) or not isinstance(value, int | float):
        return string_of(value)
    kind, digits = match[1].upper(), int(match[2]) if match[2] else None
    if kind == "D":
        return f"{int(value):0{digits or 0}d}"
    if kind == "X":
        return f"{int(value):0{digits or 0}{'X' if match[1] == 'X' else 'x'}}"
    places = 2 if digits is None else digits
    return f"{value * 100:,.{places}f} %" if kind == "P" else f"{value:{',' if kind == 'N' else ''}.{places}f}"


def _guid(given: Arguments) -> str:
    return str(uuid.uuid5(_GUID_SPACE, "-".join(string_of(part) for part in given)))


def _unique_string(given: Arguments) -> str:
    """13 characters that depend on the arguments alone. How Azure makes them is not published: others than Azure's."""
    whole = int.from_bytes(hashlib.sha256("-".join(text("uniqueString", part) for part in given).encode()).digest()[:9])
    return "".join(_BASE32[whole >> 5 * place & 31] for place in range(13))


def _join(given: Arguments) -> str:
    return text("join", given[1]).join(string_of(item) for item in array("join", given[0]))


def _pad_left(given: Arguments) -> str:
    padding = text("padLeft", given[2]) if len(given) > 2 else " "
    width = number("padLeft", given[1])
    if len(padding) != 1 or not 0 <= width <= MAX_TEXT:
        raise wrong("padLeft", "a width and one character to pad with", given[1])
    return string_of(given[0]).rjust(width, padding)


def _split(given: Arguments) -> list[str]:
    marks = given[1] if isinstance(given[1], list) else [given[1]]
    if not all(isinstance(mark, str) and mark for mark in marks) or not marks:
        raise wrong("split", "delimiters that are not empty", given[1])
    return re.split("|".join(re.escape(mark) for mark in marks), text("split", given[0]))


def _substring(given: Arguments) -> str:
    whole, start = text("substring", given[0]), number("substring", given[1])
    length = number("substring", given[2]) if len(given) > 2 else len(whole) - start
    if start < 0 or length < 0 or start + length > len(whole):
        raise ExpressionError(
            "Unable to evaluate the template language function 'substring'. The index and length parameters must refer "
            f"to a location within the string. The index parameter: '{start}', the length parameter: '{length}', the "
            f"length of the string parameter: '{len(whole)}'. Please see https://aka.ms/arm-function-substring for "
            "usage details."
        )
    return whole[start : start + length]


def _replace(given: Arguments) -> str:
    whole, old, new = (text("replace", part) for part in given)
    if not old or whole.count(old) * len(new) > MAX_TEXT:
        raise wrong("replace", "a text that is not empty to look for", given[1])
    return whole.replace(old, new)


def _uri(given: Arguments) -> str:
    try:
        return urljoin(text("uri", given[0]), text("uri", given[1]))
    except ValueError:
        raise wrong("uri", "an address", given[0]) from None


def _one(name: str, run: Any) -> Function:
    return Function(least=1, most=1, run=lambda given: run(text(name, given[0])))


FUNCTIONS = {
    "base64": _one("base64", lambda value: base64.b64encode(value.encode()).decode()),
    "base64ToString": Function(least=1, most=1, run=lambda given: _base64_decoded("base64ToString", given[0])),
    "base64ToJson": Function(
        least=1, most=1, run=lambda given: _json("base64ToJson", _base64_decoded("base64ToJson", given[0]))
    ),
    "dataUri": Function(
        least=1,
        most=1,
        run=lambda given: (
            "data:text/plain;charset=utf8;base64," + base64.b64encode(string_of(given[0]).encode()).decode()
        ),
    ),
    "dataUriToString": Function(least=1, most=1, run=_data_uri_to_string),
    "endsWith": Function(
        least=2,
        most=2,
        run=lambda given: text("endsWith", given[0]).lower().endswith(text("endsWith", given[1]).lower()),
    ),
    "format": Function(least=1, most=None, run=_formatted),
    "guid": Function(least=1, most=None, run=_guid),
    "join": Function(least=2, most=2, run=_join),
    "json": Function(least=1, most=1, run=lambda given: _json("json", given[0])),
    "padLeft": Function(least=2, most=3, run=_pad_left),
    "replace": Function(least=3, most=3, run=_replace),
    "split": Function(least=2, most=2, run=_split),
    "startsWith": Function(
        least=2,
        most=2,
        run=lambda given: text("startsWith", given[0]).lower().startswith(text("startsWith", given[1]).lower()),
    ),
    "string": Function(least=1, most=1, run=lambda given: string_of(given[0])),
    "substring": Function(least=2, most=3, run=_substring),
    "toLower": _one("toLower", str.lower),
    "toUpper": _one("toUpper", str.upper),
    "trim": _one("trim", str.strip),
    "uniqueString": Function(least=1, most=None, run=_unique_string),
    "uri": Function(least=2, most=2, run=_uri),
    "uriComponent": _one("uriComponent", lambda value: quote(value, safe="-_.~")),
    "uriComponentToString": _one("uriComponentToString", unquote),
}
