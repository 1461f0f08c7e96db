"""A policy's decision as a table: each authority and each condition, what was asked, found, and why a no is a no."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from skrkit.render.html import code, table, text, verdict
from skrkit.render.view import Step, Steps, View, scalar
from skrkit.wire import Json

_MEMBERS = frozenset({"pointer", "rule", "holds", "children"})


class Clause(NamedTuple):
    """One line of a decision. An authority holds when it is the token's: what is below it has lines of its own."""

    holds: bool
    is_authority: bool
    asked: str
    expected: str
    found: str
    hint: str
    nearest: str
    pointer: str


def decision_in(value: object) -> Mapping[str, Json] | None:
    """Return a value that is what `Decision.to_json()` gives, or None."""
    return value if isinstance(value, Mapping) and value.keys() >= _MEMBERS else None


def clauses(decision: Mapping[str, Json]) -> Iterator[Clause]:
    """Return the authorities and conditions of a decision's JSON in the policy's order; groups are in the pointers."""
    children = decision.get("children")
    for child in children if isinstance(children, list) else ():
        if not isinstance(child, dict):
            continue
        if "children" not in child:
            yield _condition(child)
            continue
        if child.get("rule") == "authority":
            yield _authority(child)
        yield from clauses(child)


def _text(members: Mapping[str, Json], name: str) -> str:
    return scalar(members[name]) if members.get(name) is not None else ""


def _condition(leaf: Mapping[str, Json]) -> Clause:
    return Clause(
        holds=leaf.get("holds") is True,
        is_authority=False,
        asked=_text(leaf, "claim"),
        expected=f"{_text(leaf, 'operator')} {_text(leaf, 'expected')}",
        found=_long(leaf["found"]) if "found" in leaf else "no such claim",
        hint=_text(leaf, "hint"),
        nearest=_text(leaf, "nearest"),
        pointer=_text(leaf, "pointer"),
    )


def _authority(node: Mapping[str, Json]) -> Clause:
    return Clause(
        holds=bool(node.get("children")),
        is_authority=True,
        asked="authority",
        expected=_text(node, "authority"),
        found=_text(node, "issuer") or "no iss",
        hint=_text(node, "hint"),
        nearest="",
        pointer=_text(node, "pointer"),
    )


def _long(value: Json) -> str:
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict | list) for item in value)):
        return f"an {'object' if isinstance(value, dict) else 'array'} of {len(value)}"
    return scalar(value)


def word(clause: Clause) -> str:
    """Return what became of a clause in a word or two."""
    verb = "applies" if clause.is_authority else "holds"
    return verb if clause.holds else f"does not {verb.removesuffix('s').replace('applie', 'apply')}"


def view_of_decision(decision: Mapping[str, Json]) -> View:
    """Return the view of a decision's JSON: yes or no, then each clause with what was expected and found."""
    found = tuple(clauses(decision))
    steps = tuple(
        Step(
            id=clause.asked,
            verdict="ok" if clause.holds else "failed",
            detail=f"{word(clause)}: {clause.expected}, found {clause.found}",
            fix=_why(clause),
        )
        for clause in found
    )
    answer = "yes" if decision.get("holds") is True else "no"
    return View(heading=f"Policy decision: {answer}", facts=(f"{len(steps)} clauses",), blocks=(Steps(steps=steps),))


def _why(clause: Clause) -> str:
    return "; ".join(part for part in (clause.hint, f"nearest: {clause.nearest}" if clause.nearest else "") if part)


def decision_html(decision: Mapping[str, Json]) -> str:
    """Return the clauses of a decision's JSON as an HTML table."""
    rows = []
    for clause in clauses(decision):
        mark = verdict("ok", f"✓ {word(clause)}") if clause.holds else verdict("failed", f"✗ {word(clause)}")
        name = clause.asked if clause.is_authority else code(clause.asked)
        why = text(clause.hint) + (f"<br>nearest: {code(clause.nearest)}" if clause.nearest else "")
        name += f"<br><small>at {text(clause.pointer)}</small>"  # no column: four hold texts of 30 characters and more
        rows.append((mark, name, code(clause.expected), code(clause.found), why))
    return table(("", "claim", "expected", "found", "why not"), rows)
