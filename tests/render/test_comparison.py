"""The view of a token against its evidence: what differs stands first, and nothing is left out."""

from __future__ import annotations

from skrkit.render.comparison import view_of_comparison
from skrkit.render.view import Rows, Steps
from skrkit.token.comparison import ClaimComparison, ComparedClaim


def test_each_claim_stands_in_the_group_of_its_verdict() -> None:
    comparison = ClaimComparison(
        claims=(
            ComparedClaim(pointer="/a", verdict="agrees", found=1, expected=1, source="field A"),
            ComparedClaim(pointer="/iat", verdict="only-maa-knows", found=5, why="the service's clock"),
            ComparedClaim(pointer="/b", verdict="differs", found=2, expected=3, source="field B", inferred=True),
            ComparedClaim(pointer="/c", verdict="not-checked", found=[{"x": 1}], why="no quote was given"),
            ComparedClaim(pointer="/d", verdict="unknown", found={"y": 1}, why="not in the catalogue of claims"),
            ComparedClaim(pointer="/e", verdict="differs", present=False, expected="E", source="field E"),
        ),
        notes=("a note",),
    )
    view = view_of_comparison(comparison)
    assert view.facts == ("1 agrees", "2 differs", "1 only maa knows", "1 not checked", "1 unknown")
    different, same, *rest, note = view.blocks
    assert isinstance(different, Steps)
    assert isinstance(same, Steps)
    assert [(step.id, step.detail) for step in different.steps] == [
        ("/b", "evidence 3 (field B) (inferred), token 2"),
        ("/e", "evidence E (field E), token nothing"),
    ]
    assert same.steps[0].detail == "1: field A"
    rows = [row for block in rest if isinstance(block, Rows) for row in block.rows]
    assert [(row.name, row.value) for row in rows] == [
        ("/iat", "5"),
        ("/c", "an array of 1 items"),
        ("/d", "an object of 1 members"),
    ]
    assert note == "a note"
