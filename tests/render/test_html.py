"""HTML of a view: nothing that an untrusted notebook takes out, nothing from outside that is not escaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.evidence.hcl import parse_hcl_report
from skrkit.evidence.snp import parse_snp_report
from skrkit.render import html
from skrkit.render.view import Bytes, Row, Rows, Step, Steps, View, view_of
from skrkit.wire import Span

TAGS = frozenset(
    {"br", "caption", "code", "details", "div", "em", "img", "li", "ol", "p", "pre", "small", "span", "strong"}
    | {"summary", "table", "tbody", "td", "th", "thead", "tr", "ul", "wbr"}
)
ATTRIBUTES = frozenset({"style", "title", "lang", "scope", "open", "src", "alt", "width"})
VOID = frozenset({"br", "img", "wbr"})
# What JupyterLab 4.6 was seen to keep of an untrusted output, and overflow-wrap, which it drops and nobody misses.
PROPERTIES = frozenset(
    {"background-color", "border-bottom", "border-left", "color", "font-family", "font-weight", "line-height"}
    | {"margin", "overflow-wrap", "padding", "text-align", "vertical-align", "white-space"}
)


class Checked(HTMLParser):
    """HTML held to tags, attributes and properties that survive, with every tag closed; `words` is what is read."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.words = ""
        self.titles: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        for name, value in attrs:
            assert name in ATTRIBUTES, name
            if name == "style":
                for declaration in (value or "").split(";"):
                    assert declaration.partition(":")[0] in PROPERTIES, declaration
                    assert "var(" not in declaration
            if name == "title":
                self.titles.append(value or "")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_each_kind_of_block() -> None:
    view = View(
        heading="A <heading>",
        facts=("1 & 2",),
        blocks=(
            "Prose <i>",
            Rows(rows=(Row("name<", "value>", "note&"), Row("inner", "", "", 1)), title="Rows"),
            Steps(steps=(Step("a.b", "ok"), Step("c.d", "failed", "seen", "mend it"), Step("e.f", "not-checked"))),
            Bytes(data=bytes(range(20)), spans=(Span(offset=0, size=4, name="f<", value=1, meaning='"m"'),)),
            View(heading="Inner"),
        ),
    )
    checked = Checked(html.html_of(view))
    for words in ("A <heading>", "1 & 2", "Prose <i>", "name<", "value>", "note&", "mend it", "Inner"):
        assert words in checked.words
    for words in ("✓ ok", "✗ failed", "– not checked"):  # a word beside every colour
        assert words in checked.words
    assert checked.titles == ['f< = 1 — "m"']


@given(st.text(max_size=40), st.text(max_size=40))
@settings(max_examples=60, deadline=None)
def test_text_from_outside_stays_text(name: str, value: str) -> None:
    view = View(
        heading=name, blocks=(Rows(rows=(Row(name, value, value),)), Steps(steps=(Step(name, "ok", value, name),)))
    )
    checked = Checked(html.html_of(view))
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]", checked.words)


def test_a_long_word_may_be_broken_and_nothing_is_lost() -> None:
    shown = html.code("ab" * 100)
    assert shown.count("<wbr>") == 6
    assert Checked(shown).words == "ab" * 100
    beside = html.code("short words " + "c" * 40 + " d")
    assert beside.count("<wbr>") == 1
    assert Checked(beside).words == "short words " + "c" * 40 + " d"


def _words_of_hex(data: bytes, spans: tuple[Span, ...], start: int, end: int, lit: tuple[int, int] | None) -> bytes:
    lines = Checked(html.hex_lines(data, spans, start, end, lit=lit)).words.splitlines()
    read = b""
    for line in lines:
        read += bytes.fromhex(line[8 : 8 + 48])
    return read


@given(
    st.binary(min_size=1, max_size=90),
    st.lists(st.tuples(st.integers(0, 80), st.integers(1, 30)), max_size=6),
    st.integers(0, 80),
    st.integers(1, 40),
)
@settings(max_examples=80, deadline=None)
def test_every_byte_is_shown_once_whatever_the_spans(
    data: bytes, places: list[tuple[int, int]], at: int, size: int
) -> None:
    spans = tuple(Span(offset=low, size=long, name="f", value=None) for low, long in sorted(places))
    assert _words_of_hex(data, spans, 0, len(data), (at, at + size)) == data
    start = len(data) // 3
    assert _words_of_hex(data, spans, start, len(data), None) == data[start:]


def test_a_field_inside_another_owns_its_bytes() -> None:
    spans = (
        Span(offset=0, size=8, name="outer", value=None),
        Span(offset=2, size=2, name="inner", value=None),
        Span(offset=10, size=1, name="last", value=None),
    )
    assert list(html.segments(spans, 0, 12)) == [
        (0, 2, 0),
        (2, 4, 1),
        (4, 8, 0),
        (8, 10, -1),
        (10, 11, 2),
        (11, 12, -1),
    ]


def test_a_real_report_is_shown_whole(captures: Path) -> None:
    hcl = parse_hcl_report((captures / "azure-snp-milan-v2" / "hcl-report.bin").read_bytes())
    report = hcl.snp()
    checked = Checked(html.html_of(view_of(report, annotated=True)))
    assert report.measurement.hex() in checked.words.replace("\n", "")
    assert report.raw[:16].hex(" ") in checked.words
    assert any(title.startswith("measurement = ") for title in checked.titles)
    assert parse_snp_report(report.raw).chip_id.hex() in checked.words
    assert "more bytes, not shown here" in Checked(html.html_of(view_of(hcl, annotated=True))).words


@pytest.mark.parametrize("colour", [html.GREY, *html.COLOURS.values(), *html.SPAN_COLOURS])
def test_a_border_is_seen_on_white_and_on_near_black(colour: str) -> None:
    for ground in ("#ffffff", "#111111"):
        assert contrast(colour, ground) >= 3  # WCAG 2.1, 1.4.11: what is not text


def test_lit_bytes_are_read_on_their_own_ground() -> None:
    ground, ink = re.findall(r"#[0-9a-f]{6}", html.LIT)
    assert contrast(ground, ink) >= 4.5


def contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
