"""The view of a token against its evidence: what differs first, then what agrees, then what could not be held up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skrkit.render.view import Block, Row, Rows, Step, Steps, View, scalar

if TYPE_CHECKING:
    from skrkit.token.comparison import ClaimComparison, ComparedClaim
    from skrkit.wire import Json

_TITLES = (
    ("only-maa-knows", "Only Azure Attestation knows"),
    ("not-checked", "Not checked: the evidence is not at hand"),
    ("unknown", "Not recognised: nothing is said of these"),
)


def view_of_comparison(comparison: ClaimComparison) -> View:
    """Return the view of a comparison: its counts as facts, and each claim in the group of its verdict."""
    counts = comparison.counts()
    facts = tuple(f"{count} {verdict.replace('-', ' ')}" for verdict, count in counts.items())
    blocks: list[Block] = []
    for title, claims in (("Different", comparison.of("differs")), ("The same", comparison.of("agrees"))):
        if claims:
            blocks.append(Steps(steps=tuple(map(_step, claims)), title=title))
    for verdict, title in _TITLES:
        rows = tuple(
            Row(name=claim.pointer, value=_worded(claim.found), note=claim.why)
            for claim in comparison.claims
            if claim.verdict == verdict
        )
        if rows:
            blocks.append(Rows(rows=rows, title=title))
    return View(heading=comparison.title, facts=facts, blocks=(*blocks, *comparison.notes))


def _step(claim: ComparedClaim) -> Step:
    inferred = " (inferred)" if claim.inferred else ""
    if claim.verdict == "agrees":
        return Step(id=claim.pointer, verdict="ok", detail=f"{_worded(claim.found)}: {claim.source}{inferred}")
    found = _worded(claim.found) if claim.present else "nothing"
    source = f" ({claim.source})" if claim.source else ""
    detail = (
        f"evidence {_worded(claim.expected)}{source}{inferred}, token {found}" if claim.source else f"token {found}"
    )
    return Step(
        id=claim.pointer,
        verdict="failed",
        detail=f"{detail}{'; ' if claim.why else ''}{claim.why}",
    )


def _worded(value: Json) -> str:
    if isinstance(value, dict):
        return f"an object of {len(value)} members"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return f"an array of {len(value)} items"
    return scalar(value)
