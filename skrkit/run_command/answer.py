"""Long answers through a short opening: run command gives back the last 4096 bytes of what a script wrote.

An answer is compressed, cut into slices that fit, and put together again by who asked, who holds the whole against
its digest. A slice is one line of text: its number, how many there are, the digest of the whole, and base64.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import lzma
import re
from collections.abc import Iterable
from dataclasses import dataclass

from skrkit.errors import ParseError

MAX_OUTPUT_BYTES = 4096  # of standard output: Azure's documents say so, and that the last ones are kept
SLICE_BYTES = 2958  # 3944 characters of base64: with the words before them, and a line's end, less than that
MAX_ANSWER_BYTES = 4 << 20
MAX_SLICES = 400  # a walk's answer has about fifteen
_LINE = re.compile(r"skrkit-slice (\d{1,4})/(\d{1,4}) ([0-9a-f]{64}) ([A-Za-z0-9+/]+={0,2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One slice: its number from 0, how many there are, the SHA-256 of the compressed whole, and its bytes."""

    number: int
    count: int
    sha256: str
    data: bytes

    def line(self) -> str:
        """Return the slice as the line that a script writes."""
        text = base64.b64encode(self.data).decode("ascii")
        return f"skrkit-slice {self.number}/{self.count} {self.sha256} {text}"


def packed(answer: bytes) -> bytes:
    """Return an answer as it is kept in the VM and sent: compressed."""
    return lzma.compress(answer, preset=9)


def slice_of(whole: bytes, number: int) -> Slice:
    """Return one slice of a packed answer. Raises `ParseError` for a number that it does not have."""
    count = max(1, -(-len(whole) // SLICE_BYTES))
    if not 0 <= number < count:
        raise _bad("its number", f"0 to {count - 1}", str(number))
    data = whole[number * SLICE_BYTES : (number + 1) * SLICE_BYTES]
    return Slice(number=number, count=count, sha256=hashlib.sha256(whole).hexdigest(), data=data)


def parse_slice(output: str) -> Slice | None:
    """Return the slice in what a script wrote, or None where there is none: it wrote something else, or was cut."""
    for line in reversed(output.splitlines()):
        found = _LINE.fullmatch(line.strip())
        if found is None:
            continue
        try:
            data = base64.b64decode(found[4], validate=True)
        except binascii.Error:
            return None
        number, count = int(found[1]), int(found[2])
        if number < count <= MAX_SLICES and len(data) <= SLICE_BYTES:
            return Slice(number=number, count=count, sha256=found[3], data=data)
    return None


def unpacked(slices: Iterable[Slice]) -> bytes:
    """Return the answer that slices make, in any order.

    Raises `ParseError` when one is missing or is of another answer, when the digest is another, or for too long a one.
    """
    by_number = {each.number: each for each in slices}
    wholes = {(each.sha256, each.count) for each in by_number.values()}
    if len(wholes) != 1:
        raise _bad("its slices", "slices of one answer", f"slices of {len(wholes)}")
    ((sha256, count),) = wholes
    missing = [number for number in range(count) if number not in by_number]
    if missing:
        raise _bad("its slices", f"{count} of them", f"no slice {', '.join(map(str, missing))}")
    whole = b"".join(by_number[number].data for number in range(count))
    found = hashlib.sha256(whole).hexdigest()
    if found != sha256:
        raise _bad("the whole", f"SHA-256 {sha256}", f"SHA-256 {found}")
    decompressor = lzma.LZMADecompressor(memlimit=256 << 20)
    try:
        answer = decompressor.decompress(whole, max_length=MAX_ANSWER_BYTES + 1)
    except lzma.LZMAError as cause:
        raise _bad("the whole", "xz data", str(cause)) from cause
    if len(answer) > MAX_ANSWER_BYTES:
        raise _bad("the whole", f"at most {MAX_ANSWER_BYTES} bytes", "more")
    if not decompressor.eof:
        raise _bad("the whole", "xz data to its end", "data that stops before")
    return answer


def _bad(where: str, expected: str, found: str) -> ParseError:
    return ParseError(
        what="answer of a run command",
        where=where,
        expected=expected,
        found=found,
        fix="Run the same command again: one run command at a time, and nobody else's in between.",
    )
