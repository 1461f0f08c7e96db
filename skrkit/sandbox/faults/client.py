"""Switch faults of a running sandbox on and off, from any process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skrkit.sandbox.faults.table import fault_named
from skrkit.sandbox.process import ask_control
from skrkit.wire import Json


def switch_on(name: str, *, home: Path | None = None) -> dict[str, Json]:
    """Return the fault that was switched on, as its `to_json()`. One that is on stays as it is.

    Starts the sandbox if it does not run. Raises `UsageError` for an unknown name, and for a change of state that finds
    nothing to change.
    """
    switched: dict[str, Json] = _asked("PUT", f"/faults/{fault_named(name).name}", home)
    return switched


def switch_off(name: str, *, home: Path | None = None) -> str:
    """Return what the fault found when it was switched off, a sentence. Raises `UsageError` for one that is not on."""
    found: dict[str, str] = _asked("DELETE", f"/faults/{fault_named(name).name}", home)["found"]
    return found[name]


def switch_all_off(*, home: Path | None = None) -> dict[str, str]:
    """Return what each fault found when it was switched off, by name; nothing if none was on."""
    found: dict[str, str] = _asked("DELETE", "/faults", home)["found"]
    return found


def listed(*, home: Path | None = None) -> list[dict[str, Json]]:
    """Return every fault as its `to_json()`, and `on`, whether it is on."""
    faults: list[dict[str, Json]] = _asked("GET", "/faults", home)["faults"]
    return faults


def _asked(method: str, path: str, home: Path | None) -> Any:
    return ask_control(method, path, what="the sandbox's faults", home=home)
