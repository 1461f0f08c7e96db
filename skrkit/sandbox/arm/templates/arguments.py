"""Arguments of template functions: how many, of which type, and the words for those that are wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from skrkit.sandbox.arm.templates.refusals import ExpressionError

MAX_TEXT = 131_072  # characters of one text: a documented limit of templates
MAX_VALUES = 100_000  # of one value, itself and all that is in it; the sandbox's own, so that no template fills memory
MAX_STEPS = 1_000_000  # of one deployment with those nested in it, some seconds; the sandbox's own, too

Arguments: TypeAlias = Sequence[Any]


@dataclass(slots=True)
class Spent:
    """How much a deployment has evaluated so far, in values made: loops in loops soon take more than there is time."""

    steps: int = 0

    def add(self, steps: int) -> None:
        """Count work. Raises `ExpressionError` beyond `MAX_STEPS`."""
        self.steps += steps
        if self.steps > MAX_STEPS:  # (inferred)
            raise ExpressionError(f"The template takes more than '{MAX_STEPS}' steps to evaluate.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function that needs nothing but its arguments. `most` is None where there may be any number."""

    least: int
    most: int | None
    run: Callable[[Arguments], Any]


def check_count(name: str, least: int, most: int | None, given: int) -> None:
    """Return nothing if that many arguments may be given. Raises `ExpressionError`."""
    if least <= given and (most is None or given <= most):
        return
    wanted = f"{least}" if least == most else f"between {least} and {most}" if most is not None else f"at least {least}"
    raise ExpressionError(
        f"Unable to evaluate template language function '{name}': function requires {wanted} argument(s) while {given} "
        f"were provided. Please see https://aka.ms/arm-functions#{name} for usage details."
    )


def type_name(value: Any) -> str:
    """Return a value's type as Resource Manager names it."""
    for kinds, name in ((bool, "Boolean"), (int, "Integer"), (float, "Float"), (str, "String"), (list, "Array")):
        if isinstance(value, kinds):
            return name
    return "Null" if value is None else "Object"


def wrong(name: str, wanted: str, found: Any) -> ExpressionError:
    """Return the error for an argument of another type than is wanted (inferred)."""
    return ExpressionError(
        f"Unable to evaluate template language function '{name}': the argument must be {wanted}, and is of type "
        f"'{type_name(found)}'. Please see https://aka.ms/arm-functions#{name} for usage details."
    )


def text(name: str, value: Any) -> str:
    """Return an argument that must be a text."""
    if not isinstance(value, str):
        raise wrong(name, "a string", value)
    return value


def number(name: str, value: Any) -> int:
    """Return an argument that must be a whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(name, "an integer", value)
    return value


def boolean(name: str, value: Any) -> bool:
    """Return an argument that must be true or false."""
    if not isinstance(value, bool):
        raise wrong(name, "a boolean", value)
    return value


def array(name: str, value: Any) -> list[Any]:
    """Return an argument that must be an array."""
    if not isinstance(value, list):
        raise wrong(name, "an array", value)
    return value


def obj(name: str, value: Any) -> dict[str, Any]:
    """Return an argument that must be an object."""
    if not isinstance(value, dict):
        raise wrong(name, "an object", value)
    return value


def member(value: dict[str, Any], name: str) -> tuple[bool, Any]:
    """Return whether an object has a member, its case aside, and the member's value."""
    if name in value:
        return True, value[name]
    return next(((True, found) for key, found in value.items() if key.lower() == name.lower()), (False, None))


def bounded(value: Any) -> Any:
    """Return a value that is not too large, counted with all that is in it. Raises `ExpressionError` (inferred)."""
    size(value)
    return value


def size(value: Any) -> int:
    """Return how many values a value is, with all that is in it. Raises `ExpressionError` above `MAX_VALUES`."""
    waiting, count = [value], 0
    while waiting:
        item = waiting.pop()
        count += 1
        if isinstance(item, str):
            if len(item) > MAX_TEXT:
                raise ExpressionError(f"The string exceeds the maximum length of '{MAX_TEXT}' characters.")
            count += len(item) // 16
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, dict):
            waiting += item.values()
        if count > MAX_VALUES:
            raise ExpressionError("The value of the language expression is too large.")
    return count
