"""A view as plain HTML: tags, inline styles, `title` and text, nothing else.

It must survive an untrusted notebook, where a page keeps no style element, class, script or inline SVG; and a reader
that strips styles as well. So meaning stands in tags and words. Text inherits its colour: no colour reads well on
both white and near-black, and borders in mid tones need less contrast than text. A lit byte brings its own ground.
All text from outside goes through `text`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from skrkit.render.layout import harmless
from skrkit.render.view import Block, Bytes, Row, Rows, Step, Steps, Verdict, View, scalar
from skrkit.wire import Span

GREY = "#808080"
COLOURS: dict[Verdict, str] = {
    "ok": "#2e8b57",
    "failed": "#d64545",
    "not-checked": "#a87b00",
    "warning": "#a87b00",
    "skipped": GREY,
}
MARKS: dict[Verdict, str] = {
    "ok": "✓ ok",
    "failed": "✗ failed",
    "not-checked": "– not checked",
    "warning": "! warning",
    "skipped": "· skipped",
}
SPAN_COLOURS = ("#3d85c6", "#c9711a", "#3f9142", "#b657a8", "#8a7f1f", "#cc4b5a", "#2b93a3", "#7f6bd1")
MONO = "font-family:monospace"
LIT = "background-color:#ffd54a;color:#111111;font-weight:bold"
_CELL = "text-align:left;vertical-align:top"  # a notebook sets tables right-aligned, each cell by itself
_BROKEN = "white-space:pre-wrap;overflow-wrap:break-word"  # the second is taken out of an untrusted notebook
_WHOLE = "white-space:pre"  # a line of hex is one line: broken, its letters would stand below it
_WORD = 32
_LINE = 16
_INDENT = "\u00a0" * 4
MAX_SHOWN_BYTES = 1280  # an HCL report up to its claims: more than that is scrolled past, and a notebook keeps it all
MAX_LEGEND = 64


def html_of(view: View) -> str:
    """Return the view as one block of HTML."""
    return box("".join(_view(view)))


def text(value: str, *, lines: bool = False) -> str:
    """Return text from anywhere, escaped, what is not printable as its code point. `lines` keeps line ends."""
    if lines:
        return "\n".join(html.escape(harmless(part.replace("\t", "    "))) for part in value.split("\n"))
    return html.escape(harmless(value))


def box(inner: str) -> str:
    """Return HTML in the frame that every view has."""
    return f'<div lang="en" style="border-left:3px solid {GREY};padding:2px 0 2px 12px;margin:4px 0">{inner}</div>'


def live(inner: str) -> str:
    """Return HTML for inside a widget, whose lines would stand two apart."""
    return f'<div lang="en" style="line-height:1.4">{inner}</div>'


def heading(title: str, facts: Sequence[str] = ()) -> str:
    """Return a heading with the facts beside it. It is bold text: the headings of a notebook are its own."""
    beside = f" <small>{text(' · '.join(facts))}</small>" if facts else ""
    return f'<p style="margin:2px 0"><strong>{text(title)}</strong>{beside}</p>'


def verdict(value: Verdict, words: str = "") -> str:
    """Return a verdict: a sign, a word, and a border in its colour."""
    shown = words or MARKS[value]
    return f'<strong style="border-bottom:2px solid {COLOURS[value]};white-space:nowrap">{text(shown)}</strong>'


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "") -> str:
    """Return a table; cells are HTML already, headers are text. The first cell of a row is its header."""
    top = "".join(f'<th scope="col" style="{_CELL}">{text(name)}</th>' for name in header)
    body = "".join(_table_row(row) for row in rows)
    said = f'<caption style="text-align:left">{text(caption)}</caption>' if caption else ""
    head = f"<thead><tr>{top}</tr></thead>" if header else ""
    return f'<table style="overflow-wrap:break-word;margin:4px 0">{said}{head}<tbody>{body}</tbody></table>'


def _table_row(cells: Sequence[str]) -> str:
    first = f'<th scope="row" style="{_CELL};font-weight:normal">{cells[0]}</th>'
    rest = (f'<td style="{_CELL};white-space:pre-wrap">{cell}</td>' if cell else "<td></td>" for cell in cells[1:])
    return f"<tr>{first}{''.join(rest)}</tr>"


def details(summary: str, inner: str, *, is_open: bool = False) -> str:
    """Return HTML that folds away under a summary, which is text. A keyboard opens it."""
    return f"<details{' open' if is_open else ''}><summary>{text(summary)}</summary>{inner}</details>"


def breakable(value: str) -> str:
    """Return text in which a long word, such as hex, may be broken after every 32 characters.

    It is broken only where there is no room: with 64, a column of meanings beside it was pushed out of the page.
    """
    pieces = re.findall(rf"\S{{1,{_WORD}}}|\s+", value)
    shown = ""
    for number, piece in enumerate(pieces):
        goes_on = number > 0 and not piece.isspace() and not pieces[number - 1].isspace()
        shown += f"{'<wbr>' if goes_on else ''}{text(piece)}"
    return shown


def code(value: str) -> str:
    """Return text in a fixed width, its long words breakable."""
    return f"<code>{breakable(value)}</code>" if value else ""


def preformatted(value: str) -> str:
    """Return lines of text as they are, in a fixed width."""
    return f'<pre style="{_BROKEN};margin:4px 0">{text(value, lines=True)}</pre>'


def _view(view: View) -> Iterator[str]:
    yield heading(view.heading, view.facts)
    for block in view.blocks:
        yield _block(block)


def _block(block: Block) -> str:
    if isinstance(block, View):
        return box("".join(_view(block)))
    if isinstance(block, str):
        return f'<p style="{_BROKEN};margin:4px 0">{text(block, lines=True)}</p>'
    title = heading(block.title) if block.title else ""
    if isinstance(block, Rows):
        return title + rows(block.rows)
    if isinstance(block, Steps):
        return title + steps(block.steps)
    return title + annotated(block)


def rows(given: Sequence[Row]) -> str:
    """Return names, values and what they mean as a table. Depth is drawn with spaces, which survive everywhere."""
    noted = any(row.note for row in given)
    header = ("name", "value", "meaning") if noted else ("name", "value")
    cells = []
    for row in given:
        cells.append((_INDENT * row.depth + code(row.name), code(row.value)))
        if noted:
            cells[-1] = (*cells[-1], text(row.note))  # type: ignore[assignment] # a third column, in every row
    return table(header, cells)


def steps(given: Sequence[Step]) -> str:
    """Return the steps of a verification as a table: verdict, id, detail with the fix."""
    cells = []
    for step in given:
        fix = f"<br><em>fix:</em> {text(step.fix)}" if step.fix else ""
        cells.append((verdict(step.verdict), code(step.id), breakable(step.detail) + fix))
    return table(("verdict", "step", "what was seen"), cells)


def annotated(block: Bytes, *, limit: int = MAX_SHOWN_BYTES) -> str:
    """Return bytes in hex, each field underlined in its colour and named in its `title`, then the table of fields."""
    spans = block.spans[:MAX_LEGEND]
    shown = hex_lines(block.data, spans, 0, min(len(block.data), limit))
    left = len(block.data) - limit
    more = f"<p><em>… {left} more bytes, not shown here.</em></p>" if left > 0 else ""
    return shown + more + (legend(block.spans) if block.spans else "")


def legend(spans: Sequence[Span]) -> str:
    """Return the table of fields: where, name, value, what it means and who says so."""
    cells = []
    for number, span in enumerate(spans[:MAX_LEGEND]):
        colour = SPAN_COLOURS[number % len(SPAN_COLOURS)]
        name = f'<code style="border-bottom:2px solid {colour}">{text(span.name)}</code>'
        where = f"0x{span.offset:04x} +{span.size}"
        cells.append((code(where), name, code(shown_value(span)), text(span.meaning)))
    over = len(spans) - MAX_LEGEND
    more = f"<p><em>… {over} more fields, not shown here.</em></p>" if over > 0 else ""
    inner = table(("bytes", "field", "value", "meaning"), cells) + more
    return details(f"The {len(spans)} fields as a table", inner, is_open=len(spans) <= 8)


def shown_value(span: Span) -> str:
    """Return the value of a span as text that fits a cell."""
    if isinstance(span.value, dict | list) and span.value and not isinstance(span.value, list):
        return f"{len(span.value)} members"
    value = scalar(span.value) if not isinstance(span.value, list) else f"{len(span.value)} items"
    return value if len(value) <= 64 else f"{value[:61]}…"


def segments(spans: Sequence[Span], start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Return (from, to, number of the span or -1) over the bytes; a span that holds others shows where none of them is.

    The latest span that begins at or before a byte and has not ended owns it: the innermost, since spans nest.
    """
    edges = {start, end}
    for span in spans:
        edges.update(edge for edge in (span.offset, span.offset + span.size) if start < edge < end)
    ordered = sorted(edges)
    at, stack = 0, []
    for low, high in pairwise(ordered):
        while at < len(spans) and spans[at].offset <= low:
            stack.append(at)
            at += 1
        while stack and spans[stack[-1]].offset + spans[stack[-1]].size <= low:
            stack.pop()
        owner = next((one for one in reversed(stack) if spans[one].offset + spans[one].size > low), -1)
        yield low, high, owner


def hex_lines(data: bytes, spans: Sequence[Span], start: int, end: int, *, lit: tuple[int, int] | None = None) -> str:
    """Return bytes `start` to `end` as hex with offsets and ASCII. Bytes in `lit` stand on a ground of their own."""
    pieces = list(segments(spans, start, end))
    lines = []
    for at in range(start - start % _LINE, end, _LINE):
        low, high = max(at, start), min(at + _LINE, end)
        cells = "".join(
            _piece(data, spans, piece, low, high, lit) for piece in pieces if piece[0] < high and piece[1] > low
        )
        letters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data[low:high])
        before, after = "   " * (low - at), "   " * (at + _LINE - high)
        lines.append(f"0x{at:04x}  {before}{cells}{after} {html.escape(letters)}")
    return f'<pre style="{MONO};{_WHOLE};line-height:1.5;margin:4px 0">' + "\n".join(lines) + "</pre>"


def _piece(
    data: bytes, spans: Sequence[Span], piece: tuple[int, int, int], low: int, high: int, lit: tuple[int, int] | None
) -> str:
    start, end, owner = max(piece[0], low), min(piece[1], high), piece[2]
    parts: tuple[tuple[int, int, str], ...]
    if lit is not None and start < lit[1] and end > lit[0]:
        first, last = max(start, lit[0]), min(end, lit[1])
        parts = ((start, first, ""), (first, last, LIT), (last, end, ""))
    else:
        parts = ((start, end, ""),)
    return "".join(_hex(data[a:b], spans, owner, style) for a, b, style in parts if a < b)


def _hex(chunk: bytes, spans: Sequence[Span], owner: int, style: str) -> str:
    digits = chunk.hex(" ")
    styles = [style] if style else []
    title = ""
    if owner >= 0:
        span = spans[owner]
        styles.append(f"border-bottom:2px solid {SPAN_COLOURS[owner % len(SPAN_COLOURS)]}")
        said = [f"{span.name} = {shown_value(span)}", span.meaning, span.source]
        title = f' title="{text(" — ".join(part for part in said if part))}"'
    if not styles:
        return f"{digits} "
    return f'<span style="{";".join(styles)}"{title}>{digits}</span> '
