"""Views as lines: within the width, every byte shown, nothing from outside that a terminal would obey."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from skrkit.render import plain, terminal
from skrkit.render.layout import harmless, lines_of, wrap
from skrkit.render.view import Bytes, Row, Rows, Step, Steps, View
from skrkit.wire import Span

STEPS = View(
    heading="Verification",
    blocks=(
        Steps(
            steps=(
                Step(id="report.signature", verdict="ok", detail="by the VCEK"),
                Step(
                    id="bind.hwID_eq_chip_id", verdict="failed", detail="another chip " * 12, fix="Fetch its own VCEK."
                ),
                Step(id="eventlog.replay_eq_pcrs", verdict="not-checked", detail="no event log"),
            )
        ),
    ),
)


def text_of(view: View, width: int = 80) -> list[str]:
    return ["".join(part for _, part in line) for line in lines_of(view, width)]


def rows_view(*rows: Row) -> View:
    return View(heading="H", blocks=(Rows(rows=rows),))


def test_a_heading_is_underlined_so_that_it_needs_no_colour() -> None:
    assert text_of(View(heading="Azure HCL report", facts=("hcl-report", "2600 bytes"))) == [
        "Azure HCL report",
        "─" * 16,
        "hcl-report · 2600 bytes",
    ]


def test_a_meaning_stands_beside_a_short_value_and_below_a_long_one() -> None:
    shown = text_of(rows_view(Row(name="vmpl", value="0", note="privilege level"), Row(name="n", value="ab" * 48)))
    assert shown[3:] == ["vmpl  0  — privilege level", "n     " + "ab" * 32, "      " + "ab" * 16]
    shown = text_of(rows_view(Row(name="n", value="ab" * 30, note="a digest of some length here")))
    assert shown[3:] == ["n  " + "ab" * 30, "   — a digest of some length here"]


def test_a_name_too_long_for_its_column_has_its_value_below() -> None:
    name = "x-ms-azurevm-default-securebootkeysvalidated"
    assert text_of(rows_view(Row(name=name, value="true")))[3:] == [name, " " * 36 + "true"]


def test_a_parent_keeps_its_own_meaning() -> None:
    assert text_of(rows_view(Row(name="policy", note="what is allowed"), Row(name="smt", value="true", depth=1)))[
        3:
    ] == [
        "policy  — what is allowed",
        "  smt   true",
    ]


def test_steps_say_their_verdict_in_words_beside_the_mark() -> None:
    shown = "\n".join(text_of(STEPS))
    assert "✓ ok           report.signature  by the VCEK" in shown
    assert "✗ failed       bind.hwID_eq_chip_id\n               another chip another" in shown
    assert "               fix: Fetch its own VCEK." in shown
    assert "– not checked  eventlog.replay_eq_pcrs  no event log" in shown


def test_every_byte_is_shown_once_with_gaps_named() -> None:
    spans = (
        Span(offset=1, size=2, name="version", value=258, meaning="of the structure"),
        Span(offset=4, size=10, name="report", value="whatever"),
        Span(offset=4, size=10, name="chip_id", value=bytes(range(4, 14)).hex()),
    )
    data = bytes(range(20))
    shown = text_of(View(heading="H", blocks=(Bytes(data=data, spans=spans, title="Bytes"),)))
    assert shown[3] == "Bytes"
    assert bytes.fromhex("".join(line[8:31] for line in shown[4:] if "report, 10 bytes" not in line)) == data
    assert any(re.match(r"0x0001  01 02 +version = 258", line) for line in shown)
    assert any(re.match(r"0x0000  00 +\.$", line) for line in shown)
    assert "0x0004  report, 10 bytes" in shown
    assert any(line.startswith("0x0004  04 05 06 07 08 09 0a 0b  chip_id") and "=" not in line for line in shown)


def test_text_without_spans_is_shown_beside_its_bytes() -> None:
    shown = text_of(View(heading="H", blocks=(Bytes(data=b"eyJhbGciOi\x00", spans=()),)))
    assert shown[3:] == ["0x0000  65 79 4a 68 62 47 63 69 eyJhbGci", "0x0008  4f 69 00                Oi."]


def test_wide_terminals_get_sixteen_bytes_a_line() -> None:
    shown = text_of(View(heading="H", blocks=(Bytes(data=bytes(32), spans=()),)), width=120)
    assert [len(line[8:55].split()) for line in shown[3:]] == [16, 16]


def test_wrapping_prefers_spaces_and_cuts_hex_at_sixteen_digits() -> None:
    assert wrap("one two three four", 9) == ["one two", "three", "four"]
    assert wrap("ab" * 20, 37) == ["ab" * 16, "ab" * 4]
    assert wrap("xy" * 20, 37) == [("xy" * 19)[:37], "yxy"]
    assert wrap("", 10) == [""]
    assert wrap("a\nb", 10) == ["a", "b"]


@given(st.text(max_size=200), st.integers(min_value=1, max_value=60))
@settings(max_examples=60)
def test_wrapping_loses_nothing_but_white_space_and_keeps_the_width(text: str, width: int) -> None:
    wrapped = wrap(text, width)
    assert all(len(line) <= width for line in wrapped)
    expected = "".join(harmless(part.replace("\t", "    ")) for part in text.splitlines())
    assert "".join(wrapped).replace(" ", "") == expected.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[31mred", "\\x1b[31mred"), ("a\u202eb", "a\\u202eb"), ("\ud800", "\\ud800"), ("\U000e0001", "\\U000e0001")],
)
def test_what_a_terminal_would_obey_is_shown_as_its_code_point(text: str, shown: str) -> None:
    assert harmless(text) == shown


HOSTILE = "\x1b]0;owned\x07\u202e\ud800\r\n\tevil"


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60), st.integers(min_value=40, max_value=140))
@settings(max_examples=60)
def test_no_line_is_wider_than_asked_and_none_carries_a_control(name: str, value: str, note: str, width: int) -> None:
    view = View(
        heading=name + HOSTILE,
        facts=(value, HOSTILE),
        blocks=(
            Rows(
                rows=(Row(name=name + HOSTILE, value=value, note=note, depth=3), Row(name="n", note=HOSTILE)),
                title=note,
            ),
            Steps(steps=(Step(id=name, verdict="failed", detail=value + HOSTILE, fix=note),), title=HOSTILE),
            Bytes(data=bytes(12), spans=(Span(offset=0, size=3, name=name, value=value, meaning=HOSTILE),)),
            note,
        ),
    )
    for line in text_of(view, width):
        assert line.isprintable()
        assert len(line) <= width


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_no_colour_and_a_terminal_does() -> None:
    pipe = io.StringIO()
    plain.write(STEPS, pipe, width=80)
    assert "\x1b" not in pipe.getvalue()
    screen = Screen()
    plain.write(STEPS, screen, width=80, colour=True)
    assert "\x1b[1;31m✗ failed" in screen.getvalue()
    assert re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue()) == pipe.getvalue()


def test_colour_is_for_terminals_that_want_it() -> None:
    assert plain.wants_colour(Screen(), {"WT_SESSION": "1"})
    assert not plain.wants_colour(Screen(), {"NO_COLOR": "1", "WT_SESSION": "1"})
    assert not plain.wants_colour(Screen(), {"TERM": "dumb", "WT_SESSION": "1"})
    assert not plain.wants_colour(io.StringIO(), {"WT_SESSION": "1"})


def test_the_width_is_asked_for_or_eighty() -> None:
    assert plain.width_of(io.StringIO(), {}) == 80
    assert plain.width_of(io.StringIO(), {"COLUMNS": "100"}) == 100
    assert plain.width_of(io.StringIO(), {"COLUMNS": "1000"}) == plain.MAX_WIDTH
    assert plain.width_of(io.StringIO(), {"COLUMNS": "wide"}) == 80


def test_a_stream_without_the_marks_gets_ascii_and_the_words() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    plain.write(STEPS, stream, width=80, colour=False)
    plain.write(rows_view(Row(name="name", value="Ünal")), stream, width=80, colour=False)
    stream.flush()
    shown = raw.getvalue().decode("ascii")
    assert "+ ok           report.signature" in shown
    assert "x failed" in shown
    assert "- not checked" in shown
    assert "\\xdcnal" in shown


def test_rich_draws_the_same_lines() -> None:
    pipe = io.StringIO()
    plain.write(STEPS, pipe, width=80)
    drawn = io.StringIO()
    terminal.show(STEPS, Console(file=drawn, width=80, force_terminal=False))
    assert drawn.getvalue() == pipe.getvalue()
    coloured = io.StringIO()
    terminal.show(STEPS, Console(file=coloured, width=80, force_terminal=True, color_system="standard", no_color=False))
    assert "\x1b[1;31m✗ failed" in coloured.getvalue()


def test_rich_takes_markup_in_values_as_text() -> None:
    drawn = io.StringIO()
    terminal.show(rows_view(Row(name="[bold]n[/]", value="[red]v[/red] :smile: 'q'")), Console(file=drawn, width=80))
    assert "[bold]n[/]  [red]v[/red] :smile: 'q'" in drawn.getvalue()
