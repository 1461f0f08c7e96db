"""Exercises: a question, a check of the answer, and a ladder of hints. Judged is what was found out, not the code."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Literal

from skrkit.errors import SkrkitError, UsageError

if TYPE_CHECKING:
    from skrkit.lab.session import World

Mark = Literal["not attempted", "not yet", "right"]
_SIGNS: dict[Mark, str] = {"not attempted": "○", "not yet": "✗", "right": "✓"}
_tries: Counter[str] = Counter()


class Context:
    """The world that an answer is about, for the checks that must look. Made only when it is asked for."""

    def world(self, step: int = 4) -> World:
        """Return the world after `step`, without a word in the cell."""
        from skrkit.lab.session import walked

        return walked(step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exercise:
    """One exercise. `check` gets the answer and returns True, False, or a text that says what is wrong with it.

    A check that has a second parameter gets a `Context` there. `hints` are given one by one, one for each wrong
    answer; `right` is said when the answer is right.
    """

    id: str
    question: str
    check: Callable[[Any], bool | str] | Callable[[Any, Context], bool | str] = field(repr=False)
    hints: tuple[str, ...] = ()
    right: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an answer, for a cell to show."""

    id: str
    mark: Mark
    text: str

    @property
    def passed(self) -> bool:
        """Whether the answer was right."""
        return self.mark == "right"

    def __repr__(self) -> str:
        return f"{_SIGNS[self.mark]} {self.mark}: {self.text}"

    def _repr_html_(self) -> str:
        return f"<p><strong>{_SIGNS[self.mark]} {self.mark}</strong> — {html.escape(self.text)}</p>"


def exercises() -> dict[str, Exercise]:
    """Return every exercise by id: `EXERCISES` of each module in `skrkit.lab.exercises`."""
    from skrkit.lab import exercises as folder

    found: dict[str, Exercise] = {}
    for module in iter_modules(folder.__path__):
        for exercise in import_module(f"{folder.__name__}.{module.name}").EXERCISES:
            found[exercise.id] = exercise
    return found


def check(exercise_id: str, answer: object = None) -> Outcome:
    """Return what becomes of an answer: not attempted (None or empty text), not yet with the next hint, or right.

    A check that raises on an odd answer is a wrong answer. Raises `UsageError` for an unknown exercise.
    """
    known = exercises()
    if exercise_id not in known:
        raise UsageError(
            what="exercise", where="lab.check()", expected=", ".join(known), found=repr(exercise_id), fix="Copy its id."
        )
    exercise = known[exercise_id]
    if answer is None or answer is ... or (isinstance(answer, str) and not answer.strip()):
        return Outcome(id=exercise_id, mark="not attempted", text=exercise.question)
    said = _checked(exercise, answer)
    if said is True:
        _tries.pop(exercise_id, None)
        return Outcome(id=exercise_id, mark="right", text=exercise.right or "Yes.")
    rung = min(_tries[exercise_id], len(exercise.hints) - 1)
    _tries[exercise_id] += 1
    hint = exercise.hints[rung] if exercise.hints else ""
    return Outcome(
        id=exercise_id, mark="not yet", text=" ".join(part for part in (said or "", hint) if part) or "Look again."
    )


def _checked(exercise: Exercise, answer: object) -> bool | str:
    check: Callable[..., bool | str] = exercise.check
    given = (answer, Context()) if len(signature(check).parameters) > 1 else (answer,)
    try:
        return check(*given)
    except SkrkitError as error:
        return str(error)
    except (TypeError, ValueError, AttributeError, LookupError):  # an answer of another type than was asked for
        return "Another kind of answer is asked for: a number, a word, or a text, as the question says."
