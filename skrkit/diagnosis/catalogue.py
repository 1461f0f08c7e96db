"""The catalogue of causes: error, cause, fix and source, each worded once. Everything that words a cause asks here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from skrkit.diagnosis.cause import Cause, Leg
from skrkit.errors import UsageError


def causes_of(leg: Leg) -> tuple[Cause, ...]:
    """Return the causes of one leg, in the catalogue's order."""
    causes: tuple[Cause, ...] = import_module(f"skrkit.diagnosis.causes_{leg.value.replace('-', '_')}").CAUSES
    return causes


def catalogue() -> Iterator[Cause]:
    """Return every cause, by leg in the order in which a release passes them."""
    for leg in Leg:
        yield from causes_of(leg)


def cause_named(name: str) -> Cause:
    """Return the cause of this id, such as "key.disabled". Raises `UsageError` with the nearest ids for any other."""
    leg = next((leg for leg in Leg if name.startswith(f"{leg.value}.")), None)
    for cause in causes_of(leg) if leg else ():  # only this leg's file is loaded
        if cause.id == name:
            return cause
    raise _unknown(name)


def is_cause(name: str) -> bool:
    """Return whether the catalogue has a cause of this id."""
    return any(cause.id == name for leg in Leg if name.startswith(f"{leg.value}.") for cause in causes_of(leg))


def _unknown(name: str) -> UsageError:
    from difflib import get_close_matches

    near = get_close_matches(name, [cause.id for cause in catalogue()], n=3, cutoff=0.5)
    return UsageError(
        what="cause",
        where="its id",
        expected="an id of the catalogue" + (f", such as {', '.join(near)}" if near else ""),
        found=repr(name[:80]),
        fix="skrkit explain --list",
    )
