"""A part of a view that is drawn anew each second, for as long as its widget is shown.

The kernel's own event loop keeps the time: no thread, and nothing in the page. While a cell runs, the loop waits for
it, and so does the part; it is right again at the next second.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

PERIOD_S = 1.0
MOST = 16  # of one kernel: the oldest stands still when there is one more
_Loop: TypeAlias = asyncio.AbstractEventLoop
_running: list[Countdown] = []


class Countdown:
    """One widget whose `value` is what `draw` returns, again each second until it is closed or its cell runs again."""

    def __init__(self, widget: Any, draw: Callable[[], str], run: tuple[str, str], loop: _Loop) -> None:
        self.widget = widget
        self.run = run
        self._draw = draw
        self._loop = loop
        self._next = loop.call_later(PERIOD_S, self._tick)

    def _tick(self) -> None:
        if self.widget.comm is None:  # closed
            self.stop()
            return
        self.widget.value = self._draw()
        self._next = self._loop.call_later(PERIOD_S, self._tick)

    def stop(self) -> None:
        """Leave the widget as it is."""
        self._next.cancel()
        if self in _running:
            _running.remove(self)


def count_down(widget: Any, draw: Callable[[], str]) -> bool:
    """Let `draw` set the value of `widget` each second, and return whether it will: without a kernel, it stands still.

    What an earlier run of the same cell let count is out of the page by now, and ends.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return False
    cell, message = run = _run()
    for other in [other for other in _running if cell and other.run[0] == cell and other.run[1] != message]:
        other.stop()
    while len(_running) >= MOST:
        _running[0].stop()
    _running.append(Countdown(widget, draw, run, loop))
    return True


def _run() -> tuple[str, str]:
    """Return the id of the cell that runs, as the front end names it, and of this run of it; empty where unnamed."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    parent = shell.get_parent() if shell is not None and hasattr(shell, "get_parent") else {}
    cell, message = parent.get("metadata", {}).get("cellId"), parent.get("header", {}).get("msg_id")
    return str(cell or ""), str(message or "")
