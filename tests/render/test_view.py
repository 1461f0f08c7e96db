"""What a view says: rows with the meaning of their own field, steps counted, errors and artefacts in full."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import pytest

from skrkit.artefact import Artefact
from skrkit.attestation.result import AttestationResult, StepResult
from skrkit.errors import VerificationError
from skrkit.render.view import (
    Bytes,
    Row,
    Rows,
    Steps,
    rows_of,
    shortened,
    view_of,
    view_of_artefact,
    view_of_error,
    view_of_json,
    view_of_result,
    view_of_steps,
)
from skrkit.wire import Json, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """An artefact of two fields, as small as `Described` allows."""

    kind: ClassVar[str] = "thing"
    title: ClassVar[str] = "A thing"
    raw: bytes = b"\x01\x02\x03"

    def fields(self) -> dict[str, Json]:
        return {"name_alg": 1, "rest": {"size": 2}}

    def spans(self) -> tuple[Span, ...]:
        return (
            Span(offset=0, size=1, name="nameAlg", value=1, meaning="hash of the name"),
            Span(offset=1, size=2, name="rest.size", value=2, meaning="how much is left"),
        )


def rows(view: object) -> tuple[Row, ...]:
    assert isinstance(view, Rows)
    return view.rows


def test_a_heading_names_kind_size_and_digest() -> None:
    view = view_of(Thing(), facts=("from hex",))
    assert view.heading == "A thing"
    assert view.facts == ("thing", "3 bytes", "SHA-256 " + hashlib.sha256(b"\1\2\3").hexdigest()[:16], "from hex")


def test_a_field_has_the_meaning_of_the_span_of_its_name_in_any_spelling() -> None:
    assert rows(view_of(Thing()).blocks[0]) == (
        Row(name="name_alg", value="1", note="hash of the name"),
        Row(name="rest"),
        Row(name="size", value="2", note="how much is left", depth=1),
    )


def test_notes_win_over_spans() -> None:
    assert rows(view_of(Thing(), notes={"name_alg": "mine"}).blocks[0])[0].note == "mine"


def test_a_name_with_two_meanings_lends_neither() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Twice(Thing):
        def spans(self) -> tuple[Span, ...]:
            return tuple(Span(offset=at, size=1, name="name_alg", value=0, meaning=f"meaning {at}") for at in range(2))

    assert rows(view_of(Twice()).blocks[0])[0].note == ""


def test_annotated_adds_the_bytes() -> None:
    block = view_of(Thing(), annotated=True).blocks[1]
    assert isinstance(block, Bytes)
    assert (block.data, len(block.spans)) == (b"\1\2\3", 2)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (None, "null"),
        ("", '""'),
        ([], "[]"),
        ({}, "{}"),
        ([1, "a", False], "1, a, false"),
        (2.5, "2.5"),
    ],
)
def test_a_value_without_members_is_one_row(value: Json, text: str) -> None:
    assert list(rows_of({"it": value})) == [Row(name="it", value=text)]


def test_members_stand_below_their_parent() -> None:
    assert list(rows_of({"keys": [{"kid": "a"}]})) == [
        Row(name="keys"),
        Row(name="[0]", depth=1),
        Row(name="kid", value="a", depth=2),
    ]


def test_json_nested_without_end_is_cut_and_says_so() -> None:
    deep: Json = "bottom"
    for _ in range(500):
        deep = {"in": deep}
    last = list(rows_of(deep))[-1]
    assert "deeper than is shown" in last.value


def test_json_of_one_value_is_prose() -> None:
    assert view_of_json("Answer", "yes").blocks == ("yes",)
    assert rows(view_of_json("Answer", {"a": 1}).blocks[0]) == (Row(name="a", value="1"),)


def failure() -> VerificationError:
    return VerificationError(
        step="report.signature",
        what="report signature",
        where="byte 0x2A0, 144 bytes",
        expected="a signature by the VCEK",
        found="another",
        fix="Fetch the VCEK of this chip.",
        source="AMD 56860",
    )


def test_steps_keep_their_order_and_are_counted_by_verdict() -> None:
    view = view_of_steps(
        [
            StepResult("a.one", "ok", "fine"),
            StepResult("b.two", verdict="failed", detail="broken", error=failure()),
            StepResult("c.three", verdict="not-checked", detail="no log"),
        ]
    )
    assert view.facts == ("1 ok", "1 failed", "1 not checked")
    block = view.blocks[0]
    assert isinstance(block, Steps)
    assert [(step.id, step.verdict, step.fix) for step in block.steps] == [
        ("a.one", "ok", ""),
        ("b.two", "failed", "Fetch the VCEK of this chip."),
        ("c.three", "not-checked", ""),
    ]


def result() -> AttestationResult:
    steps = (StepResult("a.one", "ok"), StepResult("b.two", "failed", "broken", failure()))
    return AttestationResult(steps=steps, verdict="failed", report=None, root="sandbox", notes=("No log was given.",))


def test_a_result_says_verdict_and_root() -> None:
    view = view_of_result(result())
    assert view.heading == "Local attestation result: failed"
    assert view.facts == ("root: sandbox", "1 ok", "1 failed", "0 not checked")
    assert isinstance(view.blocks[0], Steps)
    assert view.blocks[1] == "No log was given."


def test_a_result_is_shown_as_steps_in_an_artefact_too() -> None:
    made = Artefact(step=4, name="n", title="T", proves="p", next="n", body=result())
    assert view_of_artefact(made).blocks[1] == view_of_result(result()).blocks[0]


def test_an_error_is_shown_in_full() -> None:
    view = view_of_error(failure())
    assert view.heading == "error: report signature at byte 0x2A0, 144 bytes"
    assert [(row.name, row.value) for row in rows(view.blocks[0])] == [
        ("expected", "a signature by the VCEK"),
        ("found", "another"),
        ("fix", "Fetch the VCEK of this chip."),
        ("source", "AMD 56860"),
    ]


@pytest.mark.parametrize("body", [Thing(), {"a": 1}, "text"])
def test_an_artefact_stands_between_what_it_proves_and_what_comes_next(body: Thing | Json) -> None:
    made = Artefact(step=4, name="n", title="The title", proves="That it is so.", next="It is sent.", body=body)
    view = view_of_artefact(made)
    assert view.heading == "The title"
    assert (view.blocks[0], view.blocks[-1]) == ("Proves: That it is so.", "Next: It is sent.")
    assert len(view.blocks) == 3
    assert bool(view.facts) == isinstance(body, Thing)


def test_a_shortened_view_says_what_it_leaves_out() -> None:
    long = view_of_json("Long", {"a": "x" * 50, "b": 1, "c": 2, "d": 3})
    assert rows(shortened(long, rows=2, characters=10).blocks[0]) == (
        Row(name="a", value="xxxxxxxxxx… (50 characters)"),
        Row(name="b", value="1"),
        Row(name="… 2 more"),
    )
    assert shortened(long, rows=4, characters=50) == long


def test_a_shortened_view_keeps_what_its_sentences_point_at() -> None:
    token = view_of_json("Token", {"head": 1, "claims": {"a": 1, "b": {"c": 2, "d": 3}, "e": 4}, "tail": 5})
    kept = shortened(token, rows=1, characters=10, keep=("claims.b.d",))
    assert rows(kept.blocks[0]) == (
        Row(name="head", value="1"),
        Row(name="claims"),
        Row(name="… 1 more"),
        Row(name="b", depth=1),
        Row(name="… 1 more"),
        Row(name="d", value="3", depth=2),
        Row(name="… 2 more"),
    )
