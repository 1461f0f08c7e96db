"""Views on a rich console, for the commands that have loaded rich anyway and for notebooks' text output."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from skrkit.render.layout import Role, lines_of
from skrkit.render.plain import ASCII
from skrkit.render.view import View

_STYLES: dict[Role, str] = {"heading": "bold", "ok": "green", "failed": "bold red"}


def show(view: View, console: Console) -> None:
    """Print the view on the console at its width; a console that is no terminal gets no colour codes."""
    for line in lines_of(view, console.width):
        text = Text(no_wrap=True, overflow="ignore", end="")
        for role, part in line:
            text.append(part.translate(ASCII) if console.options.ascii_only else part, style=_STYLES.get(role, ""))
        console.print(text, crop=False, soft_wrap=True, highlight=False)
