"""Bytes and what they mean: pick a field and its bytes are lit; two blobs beside each other, field by field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from skrkit.errors import UsageError
from skrkit.lab.chooser import chooser
from skrkit.lab.display import SHOWN_CHARACTERS, SHOWN_ROWS, Display, text_of
from skrkit.render.html import (
    LIT,
    annotated,
    box,
    code,
    heading,
    hex_lines,
    live,
    shown_value,
    table,
    text,
)
from skrkit.render.view import Bytes, Row, Rows, View, shortened, view_of
from skrkit.wire import Described, Span

_BEFORE, _AFTER = 64, 192  # bytes around a field that the explorer shows
_LINE = 16
MAX_DIFFERENCES = 64


def explore_bytes(described: Described) -> Display:
    """Return a display of a parsed model's bytes: hex with fields marked, and their table.

    In a live notebook a list of the fields stands beside the bytes; the field chosen is lit and explained.
    Raises `UsageError` for what has no bytes to mark, such as a token.
    """
    given: object = described
    if not isinstance(given, Described) or not given.spans():
        raise UsageError(
            what="bytes to explore",
            where="lab.explore_bytes()",
            expected="a parsed model of a binary format: an HCL report, an SNP report, a quote, an event log",
            found=getattr(given, "title", type(given).__name__),
            fix="Parse it first: parse_hcl_report(data). For text, lab.show(it) or lab.explore_token(it).",
        )
    data, spans = described.raw, described.spans()
    facts = (described.kind, f"{len(data)} bytes", f"{len(spans)} fields")
    static = box(heading(described.title, facts) + annotated(Bytes(data=data, spans=spans)))
    words = text_of(shortened(view_of(described), rows=SHOWN_ROWS, characters=SHOWN_CHARACTERS))
    return Display(words, static, lambda: _explorer(described.title, data, spans))


def _explorer(title: str, data: bytes, spans: Sequence[Span]) -> Any:
    import ipywidgets as widgets

    room = widgets.Layout(flex="1 1 0", min_width="0", overflow="auto")  # scrolled where the page is narrow
    shown = widgets.HTML(value=live(field_html(data, spans, 0)), layout=room)

    def light(place: int) -> None:
        shown.value = live(field_html(data, spans, place))

    names = [f"0x{span.offset:04x}  {span.name}" for span in spans]
    head = widgets.HTML(value=live(heading(title, (f"{len(data)} bytes", f"{len(spans)} fields"))))
    return widgets.VBox([head, widgets.HBox([chooser(names, "Field", light, rows=14), shown])])


def field_html(data: bytes, spans: Sequence[Span], number: int) -> str:
    """Return one field: its bytes lit among their neighbours, and its name, value, meaning and source in words."""
    span = spans[number]
    start = max(0, (span.offset - _BEFORE) // _LINE * _LINE)
    end = min(len(data), span.offset + min(span.size, _AFTER) + _BEFORE)
    lit = (span.offset, span.offset + span.size)
    said = [
        ("bytes", code(f"0x{span.offset:04x} to 0x{span.offset + span.size - 1:04x}, {span.size} in all")),
        ("value", code(shown_value(span))),
        ("meaning", text(span.meaning) or "(none noted)"),
    ]
    said += [("source", text(span.source))] if span.source else []
    return (
        heading(span.name)
        + table((), said)
        + hex_lines(data, spans, start, end, lit=lit)
        + f'<p><span style="{LIT}">bold on yellow</span>: the bytes of {text(span.name)}</p>'
    )


def diff_bytes(a: Described | bytes, b: Described | bytes) -> Display:
    """Return a display of where two blobs differ: by field where both are parsed models of one kind, else by range."""
    if isinstance(a, Described) and isinstance(b, Described) and a.kind == b.kind and a.spans() and b.spans():
        return _field_diff(a, b)
    left, right = _raw(a), _raw(b)
    ranges = _ranges(left, right)
    found = [(f"0x{low:04x} +{high - low}", _hex(left[low:high]), _hex(right[low:high])) for low, high in ranges]
    return _differences("Two blobs", ("bytes", "first", "second"), found, (len(left), len(right)))


def _raw(blob: Described | bytes) -> bytes:
    if isinstance(blob, bytes | bytearray | memoryview):
        return bytes(blob)
    if isinstance(blob, Described):
        return blob.raw
    raise UsageError(
        what="bytes to compare",
        where="lab.diff_bytes()",
        expected="bytes or a parsed model, twice",
        found=type(blob).__name__,
        fix="For text: text.encode().",
    )


def _field_diff(a: Described, b: Described) -> Display:
    mine, theirs = _by_name(a), _by_name(b)
    found = []
    for key in dict.fromkeys((*mine, *theirs)):
        first, second = mine.get(key), theirs.get(key)
        if first != second:
            found.append((key[0] if key[1] == 0 else f"{key[0]}, no. {key[1] + 1}", _shown(first), _shown(second)))
    return _differences(a.title, ("field", "first", "second"), found, (len(a.raw), len(b.raw)))


def _by_name(model: Described) -> dict[tuple[str, int], bytes]:
    """Return the bytes of each field by name and how often the name came before; a log has many fields of one name.

    A span that holds others is left out: it differs wherever something in it does.
    """
    found: dict[tuple[str, int], bytes] = {}
    counted: Counter[str] = Counter()
    spans = model.spans()
    for span, after in zip_longest(spans, spans[1:]):
        end = span.offset + span.size
        if after is None or after.offset >= end:
            found[span.name, counted[span.name]] = model.raw[span.offset : end]
            counted[span.name] += 1
    return found


def _shown(value: bytes | None) -> str:
    return "(no such field)" if value is None else _hex(value)


def _ranges(a: bytes, b: bytes) -> list[tuple[int, int]]:
    """Return the ranges in which two blobs differ, from first to last difference without a gap of four equal bytes."""
    found: list[list[int]] = []
    for at in range(max(len(a), len(b))):
        if a[at : at + 1] != b[at : at + 1]:
            if found and at - found[-1][1] < 4:
                found[-1][1] = at + 1
            else:
                found.append([at, at + 1])
    return [(low, high) for low, high in found]


def _hex(chunk: bytes) -> str:
    if not chunk:
        return "(nothing)"
    shown = chunk[:32].hex(" ")
    return shown if len(chunk) <= 32 else f"{shown} … ({len(chunk)} bytes)"


def _differences(
    title: str, header: tuple[str, str, str], found: list[tuple[str, str, str]], sizes: tuple[int, int]
) -> Display:
    count = f"{len(found)} difference{'' if len(found) == 1 else 's'}"
    size = f"{sizes[0]} bytes" if sizes[0] == sizes[1] else f"{sizes[0]} and {sizes[1]} bytes"
    shown = found[:MAX_DIFFERENCES]
    rows = [(code(name), code(first), code(second)) for name, first, second in shown]
    more = "" if len(shown) == len(found) else f"<p><em>… {len(found) - len(shown)} more.</em></p>"
    inner = table(header, rows) + more if found else "<p>Every byte is the same.</p>"
    lines = tuple(Row(name=name, value=f"{first}\n{second}") for name, first, second in shown)
    view = View(
        heading=f"{title}: {count}",
        facts=(size,),
        blocks=(Rows(rows=lines),) if lines else ("Every byte is the same.",),
    )
    return Display(text_of(view), box(heading(f"{title}: {count}", (size,)) + inner))
