"""Template functions that do not evaluate all their arguments: conditions, and those that take a lambda."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cmp_to_key
from typing import TYPE_CHECKING, Any

from skrkit.sandbox.arm.templates.arguments import array, boolean, bounded, check_count, obj, text, wrong
from skrkit.sandbox.arm.templates.expression import Call, Expression
from skrkit.sandbox.arm.templates.refusals import ExpressionError

if TYPE_CHECKING:
    from skrkit.sandbox.arm.templates.scope import Scope

_Unevaluated = tuple[Expression, ...]


def _if(scope: Scope, given: _Unevaluated) -> Any:
    """Only the branch that is chosen is evaluated."""
    return scope.value_of(given[1 if boolean("if", scope.value_of(given[0])) else 2])


def _and(scope: Scope, given: _Unevaluated) -> bool:
    return all(boolean("and", scope.value_of(part)) for part in given)


def _or(scope: Scope, given: _Unevaluated) -> bool:
    return any(boolean("or", scope.value_of(part)) for part in given)


def _coalesce(scope: Scope, given: _Unevaluated) -> Any:
    return next((value for part in given if (value := scope.value_of(part)) is not None), None)


def _lambda(scope: Scope, name: str, tree: Expression, least: int, most: int) -> Callable[..., Any]:
    """Return a lambda as a function. Those with more names than they must have get the index, or the value, as well."""
    if not isinstance(tree, Call) or tree.name.lower() != "lambda":
        raise wrong(name, "a lambda expression", scope.value_of(tree))
    check_count("lambda", least + 1, most + 1, len(tree.arguments))
    names = [text("lambda", scope.value_of(part)) for part in tree.arguments[:-1]]

    def run(*values: Any) -> Any:
        bound = dict(zip(names, values, strict=False))
        return bounded(replace(scope, local={**scope.local, **bound}).value_of(tree.arguments[-1]))

    return run


def _bare_lambda(_scope: Scope, _given: _Unevaluated) -> Any:
    raise ExpressionError("The template function 'lambda' is not expected at this location.")


def _filter(scope: Scope, given: _Unevaluated) -> list[Any]:
    items, keeps = array("filter", scope.value_of(given[0])), _lambda(scope, "filter", given[1], 1, 2)
    return [item for index, item in enumerate(items) if boolean("filter", keeps(item, index))]


def _map(scope: Scope, given: _Unevaluated) -> list[Any]:
    items, makes = array("map", scope.value_of(given[0])), _lambda(scope, "map", given[1], 1, 2)
    return [makes(item, index) for index, item in enumerate(items)]


def _reduce(scope: Scope, given: _Unevaluated) -> Any:
    items, joins = array("reduce", scope.value_of(given[0])), _lambda(scope, "reduce", given[2], 2, 3)
    result = scope.value_of(given[1])
    for index, item in enumerate(items):
        result = joins(result, item, index)
    return result


def _sort(scope: Scope, given: _Unevaluated) -> list[Any]:
    items, before = array("sort", scope.value_of(given[0])), _lambda(scope, "sort", given[1], 2, 2)

    def order(left: Any, right: Any) -> int:
        if boolean("sort", before(left, right)):
            return -1
        return 1 if boolean("sort", before(right, left)) else 0

    return sorted(items, key=cmp_to_key(order))


def _to_object(scope: Scope, given: _Unevaluated) -> dict[str, Any]:
    items, key = array("toObject", scope.value_of(given[0])), _lambda(scope, "toObject", given[1], 1, 1)
    value = _lambda(scope, "toObject", given[2], 1, 1) if len(given) > 2 else None
    return {text("toObject", key(item)): value(item) if value else item for item in items}


def _map_values(scope: Scope, given: _Unevaluated) -> dict[str, Any]:
    members, makes = obj("mapValues", scope.value_of(given[0])), _lambda(scope, "mapValues", given[1], 1, 1)
    return {key: makes(value) for key, value in members.items()}


# by the name in lower case: the name, least and most arguments, what it does
FUNCTIONS: dict[str, tuple[str, int, int | None, Callable[[Any, _Unevaluated], Any]]] = {
    name.lower(): (name, least, most, run)
    for name, least, most, run in (
        ("if", 3, 3, _if),
        ("and", 2, None, _and),
        ("or", 2, None, _or),
        ("coalesce", 1, None, _coalesce),
        ("lambda", 2, None, _bare_lambda),
        ("filter", 2, 2, _filter),
        ("map", 2, 2, _map),
        ("reduce", 3, 3, _reduce),
        ("sort", 2, 2, _sort),
        ("toObject", 2, 3, _to_object),
        ("mapValues", 2, 2, _map_values),
    )
}
