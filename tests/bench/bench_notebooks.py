"""The notebooks: how long all of them take, how large they are, and a room full of attendees at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench.figures import Figures, Measured

pytestmark = pytest.mark.bench

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
ALL = sorted(source.name[:2] for source in (NOTEBOOKS / "src").glob("*.md"))
ATTENDEES = 20


def rehearse(attendees: int, *numbers: str) -> dict[str, Any]:
    """Return the report of a rehearsal, its bytecode kept as usual. Raises `RuntimeError` where there is no report."""
    for name in ("nbclient", "ipykernel", "ipywidgets"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, str(NOTEBOOKS / "workshop.py"), "--attendees", str(attendees), "--json", *numbers]
    done = subprocess.run(command, capture_output=True, text=True, env=kept, check=False)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError as cause:
        raise RuntimeError(done.stderr.strip()[-500:] or f"exit code {done.returncode}") from cause
    return found


def failures(found: dict[str, Any]) -> list[str]:
    """Return every failure, with the attendee who had it."""
    return [f"attendee {each['number']}: {failure}" for each in found["each"] for failure in each["failures"]]


@pytest.mark.figure("notebooks")
def test_all_in_sequence(figures: Figures) -> None:
    """Each in a fresh kernel, on one new sandbox, as one attendee works through them. Once: it is most of a minute."""
    found = rehearse(1, *ALL)
    assert failures(found) == []
    figures.hand_in("notebooks", Measured(value=found["seconds"]))


@pytest.mark.figure("largest")
def test_the_largest_file(figures: Figures) -> None:
    """As it is committed."""
    figures.hand_in("largest", Measured(value=max(path.stat().st_size for path in NOTEBOOKS.glob("*.ipynb"))))


@pytest.mark.figure("attendees")
def test_a_room_full_of_attendees(figures: Figures) -> None:
    """All press Run All at the same moment, each with kernels and a sandbox of their own."""
    found = rehearse(ATTENDEES, "01", "02", "03", "04")
    figures.hand_in("attendees", Measured(value=found["failures"]))
    figures.note(f"{ATTENDEES} attendees at once, notebooks 01 to 04", f"{found['seconds']:.0f} s in all")
    if found["memory"]:
        parts = f"kernel {found['kernel'] / 1e6:.0f} MB, sandbox {found['sandbox'] / 1e6:.0f} MB"
        figures.note("memory an attendee (proportional)", f"{found['memory'] / 1e6:.0f} MB: {parts}")
    slowest, where = max(tuple(each["slowest_cell"]) for each in found["each"])
    figures.note("the longest that one of them waited for a cell", f"{slowest:.1f} s ({where})")
    for failure in failures(found):
        figures.note("failed", failure)
