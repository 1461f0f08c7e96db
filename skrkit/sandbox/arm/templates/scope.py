"""What expressions are evaluated in: parameters, variables, loops, the place that is deployed to, and what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from skrkit.sandbox.arm.templates import lambdas, places, texts, values
from skrkit.sandbox.arm.templates.arguments import (
    Arguments,
    Spent,
    bounded,
    check_count,
    member,
    number,
    size,
    text,
    type_name,
)
from skrkit.sandbox.arm.templates.expression import (
    Call,
    Expression,
    Literal,
    Member,
    is_expression,
    parse_expression,
    plain,
)
from skrkit.sandbox.arm.templates.refusals import ExpressionError, UnknownYet

PURE = {name.lower(): (name, function) for name, function in {**texts.FUNCTIONS, **values.FUNCTIONS}.items()}
# Azure has these, the sandbox does not: refused by name, and not as if Azure knew no such function.
ABSENT = frozenset(name.lower() for name in (
    "dateTimeAdd", "deployer", "externalInput", "fail", "groupBy", "loadFileAsBase64", "managementGroup",
    "managementGroupResourceId", "parseCidr", "pickZones", "providers", "references", "toLogicalZone", "toLogicalZones",
    "toPhysicalZone", "toPhysicalZones", "zip",
))  # fmt: skip  # and whatever begins with `list`, which asks a resource provider for its secrets
MAX_COPIES = 800  # documented


@dataclass(frozen=True, slots=True)
class LoopVariable:
    """A variable that a copy loop makes: its name, count and input."""

    loop: dict[str, Any]


class Resources(Protocol):
    """What `reference` asks: the resource of the template by that name or id, or any other by its id."""

    def reference(self, wanted: str, api_version: str, *, full: bool) -> Any:
        """Return the resource's properties, or all of it. Raises `ExpressionError`, `UnknownYet` before it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where an expression stands. `variables` are the template's, evaluated when first asked for and kept in `known`.

    `copies` are the indexes of the loops around by name, and under "" that of the resource or output. `resources` is
    None where `reference` may not stand. `clock` is None but in the defaults of parameters, the one place for `utcNow`
    and `newGuid`. `spent` is one for all scopes of a deployment, and of those nested in it.
    """

    place: places.Place
    deployment: Mapping[str, Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    functions: Mapping[str, Any] = field(default_factory=dict)
    copies: dict[str, int] = field(default_factory=dict)
    local: Mapping[str, Any] = field(default_factory=dict)
    resources: Resources | None = None
    clock: places.Clock | None = None
    known: dict[str, Any] = field(default_factory=dict)
    lenient: bool = False
    spent: Spent = field(default_factory=Spent)

    def evaluate(self, value: Any) -> Any:
        """Return a template's value with all expressions in it evaluated. Raises `ExpressionError`.

        With `lenient`, an expression whose value is not known yet is left as it stands.
        """
        self.spent.add(1)
        if isinstance(value, str):
            if not is_expression(value):
                return plain(value)
            try:
                return self.value_of(parse_expression(value))
            except UnknownYet:
                if not self.lenient:
                    raise
                return value
        if isinstance(value, list):
            return [self.evaluate(item) for item in value]
        if isinstance(value, dict):
            return self._object(value)
        return value

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, item in value.items():
            if key.lower() == "copy" and _is_copy(item):
                for loop in item:
                    made[self.text(loop["name"])] = self.repeated(loop, loop["input"])
            else:
                made[self.text(key)] = self.evaluate(item)
        return made

    def repeated(self, loop: dict[str, Any], given: Any) -> list[Any]:
        """Return what a copy loop over a value makes of it."""
        return [inside.evaluate(given) for inside in self.loop(loop)]

    def loop(self, loop: dict[str, Any], *, whole: bool = False) -> Iterator[Scope]:
        """Return a scope for each turn of a copy loop; `whole` is that of a resource or an output, with no name needed.

        Raises `ExpressionError` for a count that is none.
        """
        count = self.evaluate(loop.get("count"))
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MAX_COPIES:
            raise ExpressionError(
                f"The copy count must be an integer of 0 to {MAX_COPIES}, and is '{texts.string_of(count)[:40]}'. "
                "Please see https://aka.ms/arm-resource-loops for usage details."
            )
        name = self.text(loop.get("name", "")).lower()
        names = (name, "") if whole else (name,)
        return (replace(self, copies=self.copies | dict.fromkeys(names, index)) for index in range(count))

    def text(self, value: Any) -> str:
        """Return a value that must come out as a text: a name, a type, an id."""
        found = self.evaluate(value)
        if not isinstance(found, str):
            raise ExpressionError(f"The value must be of type 'String', and is of type '{type_name(found)}'.")
        return found

    def value_of(self, tree: Expression) -> Any:
        """Return the value of a parsed expression."""
        if isinstance(tree, Literal):
            return tree.value
        if isinstance(tree, Member):
            return self._member(tree)
        value = self._call(tree)
        self.spent.add(size(value))
        return value

    def _member(self, tree: Member) -> Any:
        target = self.value_of(tree.target)
        if tree.safe and target is None:
            return None
        key = self.value_of(tree.key)
        if isinstance(target, dict) and isinstance(key, str):
            there, found = member(target, key)
            if not there and not tree.safe:
                raise ExpressionError(
                    f"The language expression property '{key}' doesn't exist, available properties are "
                    f"'{', '.join(target)}'."
                )
            return found
        if isinstance(target, list) and isinstance(key, int):
            if 0 <= key < len(target):
                return target[key]
            if tree.safe:
                return None
            raise ExpressionError(f"The language expression property array index '{key}' is out of bounds.")
        raise ExpressionError(
            f"The language expression property '{key}' can't be evaluated: the value is of type '{type_name(target)}'."
        )

    def _call(self, tree: Call) -> Any:
        name = tree.name.lower()
        if name in PURE:
            written, function = PURE[name]
            check_count(written, function.least, function.most, len(tree.arguments))
            return function.run([self.value_of(part) for part in tree.arguments])
        if name in LAZY:
            written, least, most, lazy = LAZY[name]
            check_count(written, least, most, len(tree.arguments))
            return lazy(self, tree.arguments)
        if name in SCOPED:
            written, least, most, scoped = SCOPED[name]
            check_count(written, least, most, len(tree.arguments))
            return scoped(self, [self.value_of(part) for part in tree.arguments])
        if name in self.functions:
            return self._user_defined(tree)
        check_known(tree.name)
        raise unknown_function(tree.name)

    def _user_defined(self, tree: Call) -> Any:
        declared = self.functions[tree.name.lower()]
        names = [str(parameter["name"]) for parameter in declared.get("parameters") or []]
        check_count(tree.name, len(names), len(names), len(tree.arguments))
        given = [self.value_of(part) for part in tree.arguments]
        inside = replace(
            self, parameters=dict(zip(names, given, strict=True)), variables={}, copies={}, local={}, resources=None,
            functions={}, known={},
        )  # fmt: skip  # a function sees its arguments alone
        return inside.evaluate(declared["output"]["value"])


def _is_copy(item: Any) -> bool:
    return isinstance(item, list) and all(
        isinstance(loop, dict) and {"name", "count", "input"} <= loop.keys() for loop in item
    )


def check_known(name: str) -> None:
    """Return nothing, unless Azure has this function and the sandbox does not: that raises `AzureError` 501."""
    from skrkit.sandbox.arm import errors

    if name.lower() in ABSENT or name.lower().startswith("list"):
        raise errors.not_here(f"the template function '{name}'")


def unknown_function(name: str) -> ExpressionError:
    """Return the error for a function that there is not."""
    return ExpressionError(
        f"The template function '{name}' is not valid. Please see https://aka.ms/arm-functions for usage details."
    )


def is_function(name: str) -> bool:
    """Return whether templates have a function of that name, user-defined ones aside."""
    return name.lower() in PURE or name.lower() in LAZY or name.lower() in SCOPED


def _parameters(scope: Scope, given: Arguments) -> Any:
    name = text("parameters", given[0])
    there, found = member(dict(scope.parameters), name)
    if not there:
        raise ExpressionError(
            f"The template parameter '{name}' is not found. Please see https://aka.ms/arm-syntax-parameters for usage "
            "details."
        )
    return found


_UNDERWAY = object()


def _variables(scope: Scope, given: Arguments) -> Any:
    name = text("variables", given[0]).lower()
    if name not in scope.known:
        there, raw = member(dict(scope.variables), name)
        if not there:
            raise ExpressionError(
                f"The template variable '{given[0]}' is not found. Please see https://aka.ms/arm-syntax-variables for "
                "usage details."
            )
        scope.known[name] = _UNDERWAY
        try:
            outside = replace(scope, copies={}, local={}, resources=None)
            looped = isinstance(raw, LoopVariable)
            value = outside.repeated(raw.loop, raw.loop["input"]) if looped else outside.evaluate(raw)
            scope.known[name] = bounded(value)
        finally:
            if scope.known[name] is _UNDERWAY:
                del scope.known[name]
    if scope.known[name] is _UNDERWAY:  # the words are not known to the letter (inferred)
        raise ExpressionError(f"Circular reference detected for the template variable '{given[0]}'.")
    return scope.known[name]


def _copy_index(scope: Scope, given: Arguments) -> int:
    named = bool(given) and isinstance(given[0], str)
    offset = number("copyIndex", given[-1]) if len(given) > int(named) else 0
    name = str(given[0]).lower() if named else ""
    if name not in scope.copies:
        raise ExpressionError(
            "The template function 'copyIndex' is not expected at this location. The function can only be used in a "
            "resource with copy specified. Please see https://aka.ms/arm-copy for usage details."
        )
    return scope.copies[name] + offset


def _reference(scope: Scope, given: Arguments) -> Any:
    if scope.resources is None:
        raise ExpressionError(
            "The template function 'reference' is not expected at this location. Please see "
            "https://aka.ms/arm-functions for usage details."
        )
    version = text("reference", given[1]) if len(given) > 1 and given[1] is not None else ""
    full = len(given) > 2 and text("reference", given[2]).lower() == "full"
    return scope.resources.reference(text("reference", given[0]), version, full=full)


def _default_only(name: str) -> ExpressionError:
    return ExpressionError(
        f"The template function '{name}' is not expected at this location. The function can only be used in the "
        "default value expressions of parameters. Please see https://aka.ms/arm-functions for usage details."
    )


def _utc_now(scope: Scope, given: Arguments) -> str:
    if scope.clock is None:
        raise _default_only("utcNow")
    return scope.clock.utc_now(text("utcNow", given[0]) if given else "")


def _new_guid(scope: Scope, _given: Arguments) -> str:
    if scope.clock is None:
        raise _default_only("newGuid")
    return scope.clock.new_guid()


def _local(scope: Scope, given: Arguments) -> Any:
    name = text("lambdaVariables", given[0])
    if name not in scope.local:  # the words are not known to the letter (inferred)
        raise ExpressionError(f"The lambda variable '{name}' is not found.")
    return scope.local[name]


def _group(scope: Scope, given: Arguments) -> Any:
    if given:
        name = text("resourceGroup", given[0])
        return scope.place.group_resource(name)
    if scope.place.group is None:
        raise ExpressionError(
            "The template function 'resourceGroup' is not expected at this location. Please see "
            "https://aka.ms/arm-functions for usage details."
        )
    return scope.place.group_resource(scope.place.group)


_Scoped = Callable[[Scope, Arguments], Any]
SCOPED: dict[str, tuple[str, int, int | None, _Scoped]] = {
    name.lower(): (name, least, most, run)
    for name, least, most, run in (
        ("parameters", 1, 1, _parameters),
        ("variables", 1, 1, _variables),
        ("copyIndex", 0, 2, _copy_index),
        ("reference", 1, 3, _reference),
        ("utcNow", 0, 1, _utc_now),
        ("newGuid", 0, 0, _new_guid),
        ("lambdaVariables", 1, 1, _local),
        ("resourceGroup", 0, 1, _group),
        ("subscription", 0, 0, lambda scope, _: scope.place.subscription_resource()),
        ("tenant", 0, 0, lambda scope, _: scope.place.tenant_resource()),
        ("environment", 0, 0, lambda _scope, _: places.environment()),
        ("deployment", 0, 0, lambda scope, _: dict(scope.deployment)),
        ("resourceId", 2, None, lambda scope, given: places.resource_id(scope.place, given)),
        ("subscriptionResourceId", 2, None, lambda scope, given: places.subscription_resource_id(scope.place, given)),
        ("tenantResourceId", 2, None, lambda _scope, given: places.tenant_resource_id(given)),
        ("extensionResourceId", 3, None, lambda _scope, given: places.extension_resource_id(given)),
    )
}
LAZY: dict[str, tuple[str, int, int | None, Callable[[Any, tuple[Expression, ...]], Any]]] = lambdas.FUNCTIONS
