"""Faults as views: the gallery, one that was switched on, what was found when some were switched off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from skrkit.artefact import STEP_TITLES
from skrkit.render.view import Row, Rows, View

if TYPE_CHECKING:
    from skrkit.wire import Json

ATTACK = "an attack, not a mistake"


def view_of_faults(faults: Sequence[Mapping[str, Json]]) -> View:
    """Return the gallery of faults in groups, as `client.listed` gives them: title, step, whether on, what it does."""
    on = [fault for fault in faults if fault.get("on")]
    known = all(fault.get("on") is not None for fault in faults)
    attacks = sum(fault["attack"] is True for fault in faults)
    return View(
        heading="Faults of the sandbox",
        facts=(f"{len(faults)} faults", f"{attacks} attacks", f"{len(on)} on" if known else "no sandbox runs"),
        blocks=tuple(
            Rows(title=str(group), rows=tuple(map(_row, members)))
            for group, members in groupby(faults, key=lambda fault: fault["group"])
        ),
    )


def _row(fault: Mapping[str, Json]) -> Row:
    marks = [f"step {fault['step']}", *([ATTACK] if fault["attack"] else []), *(["ON"] if fault.get("on") else [])]
    return Row(name=str(fault["name"]), value=f"{fault['title']} ({', '.join(marks)})", note=str(fault["does"]))


def view_of_switched_on(fault: Mapping[str, Json]) -> View:
    """Return what a fault does, which step shows it, and how to see it named and mended."""
    name, step = str(fault["name"]), int(str(fault["step"]))
    mended = "by its cause's command, or " if fault["kind"] == "state" else ""
    rows = (
        Row(name="does", value=str(fault["does"])),
        Row(name="shown by", value=f"step {step}: {STEP_TITLES[step]}"),
        Row(name="is", value=ATTACK if fault["attack"] else "a mistake or a mishap, no attack"),
        Row(name="named by", value="skrkit explain --live, and skrkit doctor"),
        Row(name="mended", value=f"{mended}by skrkit sandbox fault --off {name}"),
    )
    return View(heading=f"{name} is on: {fault['title']}", blocks=(Rows(rows=rows),))


def view_of_switched_off(found: Mapping[str, str]) -> View:
    """Return what each fault found when it was switched off."""
    if not found:
        return View(heading="No fault was on", blocks=("Nothing was changed.",))
    rows = tuple(Row(name=name, value=sentence) for name, sentence in found.items())
    return View(heading=f"{len(found)} fault{'' if len(found) == 1 else 's'} switched off", blocks=(Rows(rows=rows),))
