"""The little DER (X.690) that AMD's certificates need: read one element strictly, and four types of value."""

from __future__ import annotations

from skrkit.errors import ParseError
from skrkit.wire import where

INTEGER, OCTET_STRING, OID, IA5_STRING = 0x02, 0x04, 0x06, 0x16
SEQUENCE, SET, VERSION = 0x30, 0x31, 0xA0
SOURCE = "X.690 section 8.1"
_MAX_LENGTH_BYTES = 3  # no certificate is longer than 16 MiB


class DerError(ValueError):
    """Bytes that are not the DER they should be. Callers turn it into a `ParseError` that names the structure."""


def element(data: bytes, at: int, tag: int) -> tuple[int, int]:
    """Return start and end of the content of the element at `at`, which must have that tag.

    Raises `DerError`: another tag, a length that is not minimal, content past the end.
    """
    if at + 2 > len(data):
        raise DerError(f"tag 0x{tag:02x} expected at byte 0x{at:X}, nothing found")
    if data[at] != tag:
        raise DerError(f"tag 0x{tag:02x} expected at byte 0x{at:X}, 0x{data[at]:02x} found")
    length, start = data[at + 1], at + 2
    if length >= 0x80:
        count = length & 0x7F
        length = int.from_bytes(data[start : start + count], "big")
        if not 0 < count <= _MAX_LENGTH_BYTES or length < 0x80 or length >> 8 * (count - 1) == 0:
            raise DerError(f"length at byte 0x{at + 1:X} is not minimal DER")
        start += count
    if start + length > len(data):
        raise DerError(f"element at byte 0x{at:X} runs {start + length - len(data)} bytes past the end")
    return start, start + length


def whole(data: bytes, tag: int) -> bytes:
    """Return the content of the one element that `data` is. Raises `DerError`, also for trailing bytes."""
    start, end = element(data, 0, tag)
    if end != len(data):
        raise DerError(f"{len(data) - end} trailing bytes")
    return data[start:end]


def small_integer(data: bytes, *, what: str) -> int:
    """Return the INTEGER that `data` is, 0 to 255. From 128 up it takes two content bytes: 219 is 02 02 00 DB.

    Raises `ParseError`: another type, negative, larger, not minimal, trailing bytes.
    """
    try:
        content = whole(data, INTEGER)
    except DerError as cause:
        raise _refuse(data, what, "a DER INTEGER", str(cause)) from None
    minimal = len(content) == 1 or (len(content) == 2 and content[0] == 0 and content[1] >= 0x80)
    if not minimal or (len(content) == 1 and content[0] >= 0x80):
        raise _refuse(data, what, "a minimal DER INTEGER of 0 to 255", data.hex()[:32])
    return content[-1]


def ia5_string(data: bytes, *, what: str) -> str:
    """Return the IA5String that `data` is. Raises `ParseError`: another type, a byte that is not printable ASCII."""
    try:
        text = whole(data, IA5_STRING).decode("ascii")
        if not text.isprintable() or not text:
            raise DerError("no printable text")
    except (DerError, UnicodeDecodeError) as cause:
        raise _refuse(data, what, "a DER IA5String", str(cause)) from None
    return text


def _refuse(data: bytes, what: str, expected: str, found: str) -> ParseError:
    return ParseError(
        what=what,
        where=where(0, len(data)),
        expected=expected,
        found=found,
        fix="Fetch the certificate again; this extension is not as AMD writes it.",
        source=SOURCE,
    )
