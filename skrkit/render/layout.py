"""A view as lines of text for a width: columns, wrapping, annotated hex. Each piece has a role, none has a colour.

Both writers, plain and rich, draw these lines, so a view looks the same in each, and text from outside is made
harmless in one place: a character that is not printable (escape sequences, bidirectional overrides, lone
surrogates) is shown as its code point and never reaches a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from skrkit.render.view import Bytes, Row, Rows, Step, Steps, Verdict, View, scalar
from skrkit.wire import Json, Span

Role: TypeAlias = Literal["", "heading", "name", "note", "ok", "failed", "not-checked", "warning", "skipped"]
Line: TypeAlias = tuple[tuple[Role, str], ...]

MIN_WIDTH = 40
MAX_NAME = 34  # the longest name column; a longer name has its value on the next line
_WIDE = 110  # from this width on, sixteen bytes fit on a line beside their meaning
MIN_REPEATED = 4  # a value of this many bytes and more is not written a second time beside its bytes
_MARKS: dict[Verdict, str] = {
    "ok": "✓ ok",
    "failed": "✗ failed",
    "not-checked": "– not checked",
    "warning": "! warning",
    "skipped": "· skipped",
}
_MARK_WIDTH = 15
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


def lines_of(view: View, width: int) -> Iterator[Line]:
    """Return the lines of a view, none longer than `width` characters (40 at least)."""
    yield from _view(view, max(width, MIN_WIDTH))


def harmless(text: str) -> str:
    """Return the text with every character that is not printable as its code point: "\\x1b", "\\u202e"."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _code_point(char) for char in text)


def _code_point(char: str) -> str:
    number = ord(char)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def wrap(text: str, width: int) -> list[str]:
    """Return the text in lines of at most `width`: at spaces where there are any, hex after a multiple of 16 digits."""
    return [line for part in text.splitlines() or [""] for line in _cut(harmless(part.replace("\t", "    ")), width)]


def _cut(text: str, width: int) -> Iterator[str]:
    start = 0
    while len(text) - start > width:
        space = text.rfind(" ", start + 1, start + width + 1)
        if space > start + width // 3:
            yield text[start:space]
            start = space + 1
            continue
        end = start + width
        if width >= 16 and _HEX_DIGITS.issuperset(text[start:end]):
            end -= width % 16
        yield text[start:end]
        start = end
    yield text[start:]


def _view(view: View, width: int) -> Iterator[Line]:
    heading = wrap(view.heading, width)
    for text in heading:
        yield (("heading", text),)
    yield (("heading", "─" * max(len(text) for text in heading)),)
    if view.facts:
        for text in wrap(" · ".join(view.facts), width):
            yield (("", text),)
    for block in view.blocks:
        yield ()
        if isinstance(block, View):
            yield from _view(block, width)
        elif isinstance(block, str):
            for text in wrap(block, width):
                yield (("", text),)
        else:
            if block.title:
                for text in wrap(block.title, width):
                    yield (("heading", text),)
            yield from _block(block, width)


def _block(block: Rows | Bytes | Steps, width: int) -> Iterator[Line]:
    if isinstance(block, Rows):
        longest = max((2 * row.depth + len(harmless(row.name)) for row in block.rows), default=0)
        column = min(longest, MAX_NAME, width // 2) + 2
        for row in block.rows:
            yield from _row(row, column, width)
    elif isinstance(block, Steps):
        for step in block.steps:
            yield from _step(step, width)
    else:
        yield from _bytes(block, width)


def _row(row: Row, column: int, width: int) -> Iterator[Line]:
    name = "  " * row.depth + harmless(row.name)
    note = harmless(row.note)
    values = wrap(row.value, width - column) if row.value else []
    if not values:
        yield from _beside("name", name, column, note, width)
        return
    if len(name) >= column - 1:
        for text in wrap(name, width):
            yield (("name", text),)
        name = ""
    fits = len(values) == 1 and column + len(values[0]) + len(note) + 4 <= width
    for number, value in enumerate(values):
        lead = name if number == 0 else ""
        tail: Line = (("note", f"  — {note}"),) if note and fits else ()
        yield (("name", lead.ljust(column)), ("", value), *tail)
    if note and not fits:
        yield from _beside("name", "", column, note, width)


def _beside(role: Role, lead: str, column: int, note: str, width: int) -> Iterator[Line]:
    """Return `lead` and, in the column after it, the note; the note moves below where the lead is too long."""
    texts = wrap(f"— {note}", width - column) if note else [""]
    if len(lead) >= column:
        for text in wrap(lead, width):
            yield ((role, text),)
        lead = ""
        if not note:
            return
    for number, text in enumerate(texts):
        yield ((role, (lead if number == 0 else "").ljust(column)), ("note", text)) if text else ((role, lead),)


def _step(step: Step, width: int) -> Iterator[Line]:
    margin = " " * _MARK_WIDTH
    first, *others = wrap(step.id, width - _MARK_WIDTH)
    detail = wrap(step.detail, width - _MARK_WIDTH) if step.detail else []
    beside = len(detail) == 1 and not others and _MARK_WIDTH + len(first) + 2 + len(detail[0]) <= width
    tail: Line = (("", "  " + detail[0]),) if beside else ()
    yield ((step.verdict, _MARKS[step.verdict].ljust(_MARK_WIDTH)), ("name", first), *tail)
    for text in others:
        yield (("name", margin + text),)
    for text in [] if beside else detail:
        yield (("", margin + text),)
    for text in wrap(f"fix: {step.fix}", width - _MARK_WIDTH) if step.fix else []:
        yield (("note", margin + text),)


def _bytes(block: Bytes, width: int) -> Iterator[Line]:
    at = 0
    spans = block.spans
    for number, span in enumerate(spans):
        if span.offset > at:
            yield from _gap(block.data, at, span.offset, width)
        following = spans[number + 1] if number + 1 < len(spans) else None
        if following is not None and following.offset < span.offset + span.size:
            yield from _container(span, width)  # the spans inside show its bytes
            at = max(at, span.offset)
        else:
            yield from _span(block.data, span, width)
            at = max(at, span.offset + span.size)
    if at < len(block.data):
        yield from _gap(block.data, at, len(block.data), width)


def _gap(data: bytes, start: int, end: int, width: int) -> Iterator[Line]:
    """Return bytes that no span explains, with the ASCII characters among them at the right."""
    count = 16 if width >= _WIDE else 8
    for at in range(start, end, count):
        chunk = data[at : min(at + count, end)]
        letters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in chunk)
        yield (("", f"0x{at:04x}  {chunk.hex(' '):{3 * count - 1}} {letters}"),)


def _container(span: Span, width: int) -> Iterator[Line]:
    text = f"{harmless(span.name)}, {span.size} bytes" + (f"  — {harmless(span.meaning)}" if span.meaning else "")
    for number, part in enumerate(wrap(text, width - 8)):
        yield (("", f"0x{span.offset:04x}" if number == 0 else " " * 6), ("name", "  " + part))


def _shown(value: Json, chunk: bytes) -> str:
    """Return " = value" unless the bytes at the left say it already, or the fields above say it better."""
    if isinstance(value, dict | list):
        return ""
    if isinstance(value, str) and len(value) >= 2 * MIN_REPEATED and chunk.hex().endswith(value):
        return ""
    return f" = {scalar(value)}"


def _span(data: bytes, span: Span, width: int) -> Iterator[Line]:
    """Return the bytes of a span at the left, eight or sixteen a line, and what they are at the right."""
    count = 16 if width >= _WIDE else 8
    digits = 3 * count - 1
    column = 8 + digits + 2
    chunk = data[span.offset : span.offset + span.size]
    texts = wrap(span.name + _shown(span.value, chunk), width - column)
    note = f"— {span.meaning}" if span.meaning else ""
    if note and len(texts) == 1 and len(texts[0]) + 2 + len(harmless(note)) <= width - column:
        texts = wrap(f"{texts[0]}  {note}", width - column)
    elif note:
        texts += wrap(note, width - column)
    starts = range(0, max(len(chunk), 1), count)
    for number in range(max(len(starts), len(texts))):
        start = number * count
        part = chunk[start : start + count].hex(" ")
        lead = f"0x{span.offset + start:04x}" if number < len(starts) else ""
        text = texts[number] if number < len(texts) else ""
        line = f"{lead:8}{part:{digits}}  "
        yield (("", line if text else line.rstrip()), ("name" if number == 0 else "note", text))
