"""The frame of the exercises: the three marks, the ladder of hints, odd answers, and checks that look at the world."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from skrkit import lab
from skrkit.errors import PolicyError, UsageError
from skrkit.lab import exercise
from skrkit.lab.exercise import Context, Exercise

HINTS = ("first hint", "second hint")


def _picky(answer: Any) -> bool | str:
    if answer == "near":
        return "Almost."
    if answer == "parse":
        raise PolicyError(what="policy", where="/anyOf", expected="a list", found="nothing", fix="Write one.")
    return bool(answer.upper() == "RIGHT")


def _world_sees(answer: Any, context: Context) -> bool:
    return bool(answer == "seen" and context.world)


@pytest.fixture(autouse=True)
def two_exercises(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made = (
        Exercise(id="t.word", question="Which <word>?", check=_picky, hints=HINTS, right="That one."),
        Exercise(id="t.world", question="What is there?", check=_world_sees),
    )
    monkeypatch.setattr(exercise, "exercises", lambda: {one.id: one for one in made})
    exercise._tries.clear()
    yield
    exercise._tries.clear()


@pytest.mark.parametrize("answer", [None, ..., "", "  \n"])
def test_no_answer_is_not_attempted_and_repeats_the_question(answer: object) -> None:
    outcome = lab.check("t.word", answer)
    assert (outcome.mark, outcome.passed) == ("not attempted", False)
    assert "Which <word>?" in repr(outcome)
    assert "Which &lt;word&gt;?" in outcome._repr_html_()


def test_not_attempting_costs_no_hint() -> None:
    lab.check("t.word", ...)
    assert "first hint" in lab.check("t.word", "wrong").text


def test_each_wrong_answer_gets_the_next_hint_and_the_last_stays() -> None:
    said = [lab.check("t.word", "wrong").text for _ in range(4)]
    assert said == ["first hint", "second hint", "second hint", "second hint"]


def test_a_right_answer_says_so_and_begins_the_ladder_anew() -> None:
    lab.check("t.word", "wrong")
    outcome = lab.check("t.word", "right")
    assert (outcome.mark, outcome.passed, outcome.text) == ("right", True, "That one.")
    assert lab.check("t.word", "wrong").text == "first hint"


def test_a_text_of_the_check_is_said_before_the_hint() -> None:
    assert lab.check("t.word", "near").text == "Almost. first hint"


def test_an_error_of_skrkit_in_the_check_is_said_in_its_words() -> None:
    said = lab.check("t.word", "parse").text
    assert "policy at /anyOf: expected a list, found nothing" in said


@pytest.mark.parametrize("answer", [5, ["right"], {"a": 1}, b"right", object()])
def test_an_answer_of_another_kind_is_wrong_and_not_a_crash(answer: object) -> None:
    outcome = lab.check("t.word", answer)
    assert outcome.mark == "not yet"
    if not isinstance(answer, bytes):
        assert "Another kind of answer" in outcome.text


def test_a_check_with_a_second_parameter_gets_the_world() -> None:
    assert lab.check("t.world", "seen").passed
    wrong = lab.check("t.world", "unseen")
    assert (wrong.mark, wrong.text) == ("not yet", "Look again.")


def test_an_unknown_exercise_lists_those_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        lab.check("t.nothing", 1)
    assert caught.value.expected == "t.word, t.world"
    assert caught.value.found == "'t.nothing'"
