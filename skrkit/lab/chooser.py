"""One of several, by mouse or by keyboard.

JupyterLab takes arrow keys and letters from a focused list for its own commands: an arrow leaves the cell, an "m"
turns it into prose. It leaves number fields alone. So a list for the mouse stands beside a number for the keyboard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def chooser(options: Sequence[str], what: str, chosen: Callable[[int], None], *, rows: int = 0) -> Any:
    """Return a widget with which one option is chosen; `chosen` gets its place, at each change and not before.

    `what` names the thing in the labels: "Field". With `rows` the list stands open with so many lines, else it drops
    down. The number counts from 1, and arrow keys move it.
    """
    import ipywidgets as widgets

    last = len(options)
    number = widgets.BoundedIntText(
        value=1,
        min=1,
        max=last,
        description=f"{what} no.",
        tooltip=f"{what} 1 to {last}: arrow keys up and down",
        layout=widgets.Layout(width="160px"),
    )
    pairs = [(name, place) for place, name in enumerate(options)]
    wide = widgets.Layout(width="250px" if rows else "330px")  # beside it, a line of hex needs its room
    many: Any
    if rows:
        many = widgets.Select(options=pairs, value=0, rows=rows, layout=wide, tooltip=what)
    else:
        many = widgets.Dropdown(options=pairs, value=0, layout=wide, tooltip=what)
    many.tabbable = False  # the number is for the keyboard

    def by_number(change: Any) -> None:
        many.value = change["new"] - 1

    def by_list(change: Any) -> None:
        number.value = change["new"] + 1
        chosen(change["new"])

    number.observe(by_number, names="value")
    many.observe(by_list, names="value")
    hint = widgets.HTML(value=f"<small>of {last}; ↑ ↓ move</small>")
    top = widgets.HBox([number, hint])
    return widgets.VBox([top, many]) if rows else widgets.HBox([number, hint, many])
