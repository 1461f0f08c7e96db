"""Views as plain text, with the standard library alone: for commands that must start at once.

rich takes 30 ms to import, as long as all the rest of `skrkit inspect`. Where it is loaded anyway, `render.terminal`
draws the same lines with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TextIO

from skrkit.render.layout import Role, lines_of
from skrkit.render.view import View

DEFAULT_WIDTH = 80
MAX_WIDTH = 140  # beyond this the eye loses the line
# Bold, and the two colours that read on light and dark alike. Each stands beside a word or a mark that says the same.
_CODES: dict[Role, str] = {"heading": "1", "ok": "32", "failed": "1;31"}
ASCII = str.maketrans({"✓": "+", "✗": "x", "–": "-", "—": "-", "─": "-", "·": "|", "…": "~"})


def write(view: View, stream: TextIO, *, width: int | None = None, colour: bool | None = None) -> None:
    """Write the view to a text stream. `width` and `colour` are found out from the stream when not given."""
    columns = width_of(stream, os.environ) if width is None else width
    coloured = wants_colour(stream, os.environ) if colour is None else colour
    narrow = not _can_write(stream, "✓✗–—─·…")
    for line in lines_of(view, columns):
        text = "".join(
            f"\x1b[{_CODES[role]}m{part}\x1b[0m" if coloured and role in _CODES and part else part
            for role, part in line
        )
        stream.write(_narrowed(text, stream) if narrow else text)
        stream.write("\n")


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether colour codes make sense: a terminal, NO_COLOR empty or absent, and a TERM that is not dumb."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb" or not stream.isatty():
        return False
    return os.name != "nt" or "WT_SESSION" in environ  # the old Windows console shows the codes themselves


def width_of(stream: TextIO, environ: Mapping[str, str]) -> int:
    """Return the columns to fill: COLUMNS, else the terminal's, else 80; at most 140."""
    asked = environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        return min(int(asked), MAX_WIDTH)
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # a pipe, a file, or a stream without a descriptor (UnsupportedOperation is both)
        columns = 0
    return min(columns or DEFAULT_WIDTH, MAX_WIDTH)


def _can_write(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _narrowed(text: str, stream: TextIO) -> str:
    encoding = stream.encoding or "ascii"
    return text.translate(ASCII).encode(encoding, "backslashreplace").decode(encoding)
