"""`skrkit sandbox setting`: let the sandbox be as strict as Azure where that would be in the way of most lessons."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skrkit.wire import Json


def setting(name: str | None, state: str | None, *, as_json: bool) -> int:
    """Return 0 after the settings were listed, or one of them switched. A list starts no sandbox.

    Raises `UsageError`.
    """
    from skrkit.errors import UsageError
    from skrkit.sandbox.process import ask_control, running
    from skrkit.sandbox.settings import SETTINGS, setting_named

    what = "the sandbox's settings"
    if name is None:
        found: list[Json] = (
            ask_control("GET", "/settings", what=what)["settings"]
            if running()
            else [each.to_json(on=None) for each in SETTINGS]
        )
        return _say({"settings": found}, "\n".join(map(_line, found)), as_json)
    known = setting_named(name)
    if state is None:
        raise UsageError(
            what="sandbox setting",
            where="the command line",
            expected="on or off after the name",
            found="neither",
            fix=f"skrkit sandbox setting {known.name} on",
        )
    switched = ask_control("PUT" if state == "on" else "DELETE", f"/settings/{known.name}", what=what)
    return _say(switched, _line(switched), as_json)


def _line(found: Any) -> str:
    state = {True: "is on", False: "is off", None: "(no sandbox runs)"}[found["on"]]
    return f"{found['name']} {state}. While it is on: {found['does']}"


def _say(document: dict[str, Json], text: str, as_json: bool) -> int:
    print(json.dumps(document, indent=2) if as_json else text)
    return 0
