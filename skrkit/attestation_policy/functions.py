"""The six functions of version 1.2, over sets of values. Whatever is wrong with an argument is a `PolicyError`.

Source: Azure Attestation, "Claim rule functions supported in policy version 1.2+".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from skrkit.attestation_policy.model import INTEGERS, Place, Scalar, value_type
from skrkit.errors import ParseError, PolicyError
from skrkit.wire import Json

ARITY = {
    "JmesPath": 2,
    "JsonToClaimValue": 1,
    "IsSubsetOf": 2,
    "AppendString": 2,
    "NegateBool": 1,
    "ContainsOnlyValue": 2,
}
"""Every function, and how many arguments it takes."""

MAX_TEXT_CHARACTERS = 1 << 20
MAX_VALUES = 10_000
SOURCE = "Azure Attestation, claim rule functions"


@dataclass(frozen=True, slots=True)
class Values:
    """What an expression is: the values of a set, mostly one. Empty is what JSON null becomes, and makes no claim."""

    items: tuple[Scalar, ...]
    read_only: bool = False


def call(name: str, arguments: Sequence[Values], place: Place) -> Values:
    """Return what a function makes of its arguments, which are as many as it takes."""
    return _FUNCTIONS[name](_Arguments(name, arguments, place))


@dataclass(frozen=True, slots=True)
class _Arguments:
    """The arguments of one call, each to be had as what the function needs."""

    name: str
    values: Sequence[Values]
    place: Place

    @property
    def read_only(self) -> bool:
        return any(each.read_only for each in self.values)

    def one(self, index: int) -> Scalar:
        items = self.values[index].items
        if len(items) != 1:
            raise self.refused(index, "one value", f"a set of {len(items)}")
        return items[0]

    def text(self, index: int) -> str:
        value = self.one(index)
        if not isinstance(value, str):
            raise self.refused(index, "a String", value_type(value))
        return value

    def refused(self, index: int, expected: str, found: str) -> PolicyError:
        return evaluation_error(self.place, f"argument {index + 1} of {self.name}", expected, found)


def evaluation_error(place: Place, what: str, expected: str, found: str, *, rule: str = "evaluation") -> PolicyError:
    """Return the error of a rule that cannot be evaluated: of a value that is not what the rule needs."""
    return PolicyError(
        what=what,
        where=str(place),
        expected=expected,
        found=found[:200],
        fix="Ask in a condition for what the rule needs, or change the expression.",
        source=SOURCE,
        rule=rule,
    )


def _jmespath(given: _Arguments) -> Values:
    """Return the JSON text of what a query finds in a JSON text: a text is in quotes, nothing is `null`."""
    from skrkit.attestation_policy.jmespath_query import QueryRefused, search

    document, query = _json(given), given.text(1)
    if not query:
        raise given.refused(1, "a query", "an empty text")
    try:
        found = search(query, document)
    except QueryRefused as cause:
        raise given.refused(1, "a JMESPath query that can be evaluated", str(cause)) from None
    return Values((found,), given.read_only)


def _json(given: _Arguments) -> Json:
    from skrkit.encoding import json_value

    text = given.text(0)
    try:
        return json_value(text, what="argument", where="", limit=MAX_TEXT_CHARACTERS)
    except ParseError as cause:
        raise given.refused(0, cause.expected, cause.found) from None


def _json_to_claim_value(given: _Arguments) -> Values:
    value = _json(given)
    members = value if isinstance(value, list) else [value]
    if len(members) > MAX_VALUES:
        raise given.refused(0, f"at most {MAX_VALUES} values", str(len(members)))
    scalars = (_scalar(given, member) for member in members)
    return Values(tuple(scalar for scalar in scalars if scalar is not None), given.read_only)


def _scalar(given: _Arguments, value: Json) -> Scalar | None:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int) and value in INTEGERS:
        return value
    kind = "a fraction" if isinstance(value, float) else "an object or an array"
    kind = "a number of more than 64 bits" if isinstance(value, int) else kind
    raise given.refused(0, "JSON of integers, booleans, texts and null, or one array of them", kind)


def _is_subset_of(given: _Arguments) -> Values:
    inner, outer = (_typed(values) for values in given.values)
    return Values((inner <= outer,))


def _typed(values: Values) -> set[tuple[str, Scalar]]:
    """Return a set in which true is not 1, as it is not in the language."""
    return {(value_type(value), value) for value in values.items}


def _append_string(given: _Arguments) -> Values:
    joined = given.text(0) + given.text(1)
    if len(joined) > MAX_TEXT_CHARACTERS:
        raise given.refused(1, f"at most {MAX_TEXT_CHARACTERS} characters together", str(len(joined)))
    return Values((joined,), given.read_only)


def _negate_bool(given: _Arguments) -> Values:
    value = given.one(0)
    if not isinstance(value, bool):
        raise given.refused(0, "a Boolean", value_type(value))
    return Values((not value,), given.read_only)


def _contains_only_value(given: _Arguments) -> Values:
    only = given.one(1)
    return Values((_typed(given.values[0]) == {(value_type(only), only)},))


_FUNCTIONS: dict[str, Callable[[_Arguments], Values]] = {
    "JmesPath": _jmespath,
    "JsonToClaimValue": _json_to_claim_value,
    "IsSubsetOf": _is_subset_of,
    "AppendString": _append_string,
    "NegateBool": _negate_bool,
    "ContainsOnlyValue": _contains_only_value,
}


def json_text(value: Json) -> str:
    """Return a JSON value as compact text, as a claim holds it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
