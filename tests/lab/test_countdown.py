"""A part that is drawn anew each second: as long as its widget lives, and no longer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from skrkit.lab import countdown
from skrkit.lab.countdown import count_down
from skrkit.lab.token_view import explore_token
from tests.lab.test_kernel import Kernel, kernel  # noqa: F401 - a fixture


class Widget:
    """What a countdown needs of a widget."""

    def __init__(self) -> None:
        self.comm: object | None = object()
        self.value = "first"
        self.drawn = 0

    def draw(self) -> str:
        self.drawn += 1
        return f"drawn {self.drawn}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(countdown, "PERIOD_S", 0.01)
    yield
    for running in list(countdown._running):
        running.stop()


def test_without_an_event_loop_it_stands_still() -> None:
    widget = Widget()
    assert count_down(widget, widget.draw) is False
    assert (widget.value, countdown._running) == ("first", [])


def test_it_counts_until_its_widget_is_closed() -> None:
    async def shown() -> tuple[int, int]:
        widget = Widget()
        assert count_down(widget, widget.draw) is True
        await asyncio.sleep(0.1)
        before = widget.drawn
        widget.comm = None
        await asyncio.sleep(0.05)
        return before, widget.drawn

    before, after = asyncio.run(shown())
    assert before >= 3
    assert after == before
    assert countdown._running == []


def test_another_run_of_the_cell_ends_what_the_one_before_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    async def shown(*runs: tuple[str, str]) -> list[int]:
        widgets = []
        for run in runs:
            monkeypatch.setattr(countdown, "_run", lambda run=run: run)
            widgets.append(Widget())
            count_down(widgets[-1], widgets[-1].draw)
        await asyncio.sleep(0.05)
        return [widget.drawn for widget in widgets]

    old, one, two, other = asyncio.run(shown(("cell-1", "a"), ("cell-1", "b"), ("cell-1", "b"), ("cell-2", "b")))
    assert old == 0
    assert min(one, two, other) > 0


def test_there_are_never_more_than_a_few() -> None:
    async def shown() -> list[int]:
        widgets = [Widget() for _ in range(countdown.MOST + 3)]
        for widget in widgets:
            count_down(widget, widget.draw)
        assert len(countdown._running) == countdown.MOST
        await asyncio.sleep(0.05)
        return [widget.drawn for widget in widgets]

    drawn = asyncio.run(shown())
    assert drawn[:3] == [0, 0, 0]
    assert min(drawn[3:]) > 0


def test_what_fails_to_be_drawn_fails_once() -> None:
    async def shown() -> list[str]:
        said: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, what: said.append(str(what["exception"])))

        def draw() -> str:
            raise ValueError("no more")

        count_down(Widget(), draw)
        await asyncio.sleep(0.06)
        return said

    assert asyncio.run(shown()) == ["no more"]


def test_the_times_of_a_real_token_count_in_a_loop_and_stand_still_without_one(captures: Path) -> None:
    pytest.importorskip("ipywidgets", reason="NO WIDGET IS MADE: ipywidgets is not installed")
    text = (captures / "maa-token-and-akv-release" / "maa-token.jwt").read_text().strip()
    shown = explore_token(text, now=datetime(2020, 1, 1, 12, 0, 0, tzinfo=UTC))
    assert "seen from 12:00:00 UTC" in shown._repr_html_()
    assert len(re.findall(r"in \d+ d \d+ h<", shown._repr_html_())) >= 2

    async def counted() -> tuple[str, str]:
        times: Any = shown.widget.children[1]
        first = str(times.value)
        await asyncio.sleep(1.1)
        return first, str(times.value)

    first, later = asyncio.run(counted())
    assert "seen from 12:00:00 UTC" in first
    assert "seen from 12:00:01 UTC" in later
    assert len(re.findall(r"in \d+ d \d+ h \d+ min \d+ s<", later)) >= 2


def test_in_a_kernel_it_counts_and_costs_next_to_nothing(kernel: Kernel, captures: Path) -> None:  # noqa: F811
    pytest.importorskip("ipywidgets", reason="NO WIDGET IS MADE: ipywidgets is not installed")
    token = captures / "maa-token-and-akv-release" / "maa-token.jwt"
    code = (
        "import time, pathlib; from skrkit import lab\n"
        f"shown = lab.explore_token(pathlib.Path({str(token)!r}).read_text().strip()); shown"
    )
    assert kernel.run(code)[0] == "ok"
    assert kernel.run("first, began = shown.widget.children[1].value, time.process_time()")[0] == "ok"
    kernel.run("import asyncio; await asyncio.sleep(2.2)")
    status, said = kernel.run("shown.widget.children[1].value != first, time.process_time() - began < 0.5")
    assert (status, "(True, True)" in said) == ("ok", True)


def test_where_the_clock_of_the_world_stands_still_so_do_the_times(
    captures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ipywidgets", reason="NO WIDGET IS MADE: ipywidgets is not installed")
    monkeypatch.setattr("skrkit.lab.clock._clock", lambda: datetime(2020, 1, 1, 12, 0, 0, tzinfo=UTC))
    shown = explore_token((captures / "maa-token-and-akv-release" / "maa-token.jwt").read_text().strip())

    async def counted() -> tuple[str, str]:
        times: Any = shown.widget.children[1]
        first = str(times.value)
        await asyncio.sleep(1.1)
        return first, str(times.value)

    first, later = asyncio.run(counted())
    assert "seen from 12:00:00 UTC" in first
    assert later == first
