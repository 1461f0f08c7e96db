"""The resources of a template, in the order in which they are made: loops unrolled, names known, cycles refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from skrkit.sandbox.arm.templates.expression import Call, Expression, Literal, Member, is_expression, parse_expression
from skrkit.sandbox.arm.templates.places import Place, id_of
from skrkit.sandbox.arm.templates.refusals import SYNTAX, ExpressionError, UnknownYet, invalid, invalid_part
from skrkit.sandbox.arm.templates.scope import Scope, check_known, is_function, unknown_function

DEPLOYMENT_TYPE = "Microsoft.Resources/deployments"
GROUP_TYPE = "Microsoft.Resources/resourceGroups"
MAX_RESOURCES = 800  # with those of loops: a documented limit
NOT_SENT = frozenset((
    "name", "type", "apiVersion", "condition", "copy", "dependsOn", "resources", "scope", "existing", "comments",
    "metadata", "resourceGroup", "subscriptionId",
))  # fmt: skip  # members of a resource in a template that are no part of the resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One resource that is to be made. `source` is what the template says, for `scope` to evaluate.

    `wanted` is its condition; `existing` is a resource that is only referred to. `waits_for` are places in the plan.
    """

    id: str
    type: str
    name: str
    api_version: str
    symbol: str
    loop: str
    wanted: bool
    existing: bool
    place: Place = field(repr=False)
    source: dict[str, Any] = field(repr=False)
    scope: Scope = field(repr=False)
    depends_on: tuple[str, ...] = ()
    waits_for: frozenset[int] = frozenset()


def has_inner_scope(source: dict[str, Any]) -> bool:
    """Return whether a nested template's expressions see its own parameters; by default they see the outer ones."""
    properties = source.get("properties")
    options = properties.get("expressionEvaluationOptions") if isinstance(properties, dict) else None
    return isinstance(options, dict) and str(options.get("scope", "")).lower() == "inner"


def is_nested(source: dict[str, Any]) -> bool:
    """Return whether a resource of a template is a deployment of its own."""
    return str(source.get("type", "")).lower() == DEPLOYMENT_TYPE.lower()


def check_functions(template: Any, own: frozenset[str]) -> None:
    """Return nothing if every function in a template is one; `own` are the user-defined, in lower case.

    Raises `AzureError` 400 InvalidTemplate, 501 for a function that only Azure has.
    """
    for part, name, value in _parts(template):
        for text in _expressions(value):
            try:
                for call in _calls(parse_expression(text)):
                    if not is_function(call.name) and call.name.lower() not in own:
                        check_known(call.name)
                        raise unknown_function(call.name)
            except ExpressionError as error:
                raise invalid_part(part, name, error) from None


def _parts(template: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for section, part in (("parameters", "parameter"), ("variables", "variable"), ("outputs", "output")):
        for name, value in (template.get(section) or {}).items():
            yield part, name, value
    resources = template.get("resources") or []
    for source in resources.values() if isinstance(resources, dict) else resources:
        yield "resource", str(source.get("name", "")) if isinstance(source, dict) else "", source


def _expressions(value: Any, *, whole: bool = True) -> Iterator[str]:
    """Yield the expressions in a value. Without `whole`, not those that a nested template evaluates for itself."""
    if isinstance(value, str) and is_expression(value):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _expressions(item, whole=whole)
    elif isinstance(value, dict):
        skipped = not whole and is_nested(value) and has_inner_scope(value)
        for key, item in value.items():
            yield from _expressions(key)
            if skipped and key == "properties":
                item = {name: part for name, part in item.items() if name != "template"}
            yield from _expressions(item, whole=whole)


def _calls(tree: Expression) -> Iterator[Call]:
    if isinstance(tree, Literal):
        return
    if isinstance(tree, Member):
        yield from _calls(tree.target)
        yield from _calls(tree.key)
        return
    yield tree
    for argument in tree.arguments:
        yield from _calls(argument)


def plan(template: dict[str, Any], scope: Scope, place: Place) -> list[Planned]:
    """Return the resources of a template in an order in which each comes after those that it depends on.

    Raises `AzureError` 400 InvalidTemplate for a name that has no value yet, one given twice, a dependency on nothing
    and a circle of them.
    """
    found: list[Planned] = []
    for planned in _all(template.get("resources") or [], scope, place, None):
        found.append(planned)
        if len(found) > MAX_RESOURCES:  # the words are not known to the letter (inferred)
            raise invalid(f"The number of template resources exceeds the limit of '{MAX_RESOURCES}'")
    seen: set[str] = set()
    for planned in found:
        if planned.id.lower() in seen:
            raise invalid(f"The resource '{planned.id}' is defined multiple times in a template. {SYNTAX}")
        seen.add(planned.id.lower())
    return _ordered([replace(each, waits_for=_waits_for(each, found)) for each in found])


def _all(resources: Any, scope: Scope, place: Place, parent: Planned | None) -> Iterator[Planned]:
    named = resources.items() if isinstance(resources, dict) else [("", source) for source in resources]
    for symbol, source in named:
        loop = source.get("copy")
        name = str(source.get("name", ""))
        try:
            if isinstance(loop, dict):
                label = scope.text(loop.get("name", ""))
                turns = [(inside, label) for inside in scope.loop(loop, whole=True)]
            else:
                turns = [(scope, "")]
            for inside, label in turns:
                made = _one(source, inside, place, parent, symbol, label)
                yield made
                yield from _all(source.get("resources") or [], inside, place, made)
        except ExpressionError as error:
            raise invalid_part("resource", name, error) from None


def _one(source: dict[str, Any], scope: Scope, place: Place, parent: Planned | None, symbol: str, loop: str) -> Planned:
    kind, name = (str(scope.text(source.get(part, ""))) for part in ("type", "name"))
    if parent is not None:
        kind, name = f"{parent.type}/{kind}", f"{parent.name}/{name}"
    wanted = scope.evaluate(source.get("condition", True))
    if not isinstance(wanted, bool):
        raise ExpressionError("The resource condition must be of type 'Boolean'")  # (inferred)
    where = _place_of(source, scope, place) if is_nested(source) else place
    return Planned(
        id=_id(source, scope, where, kind, name),
        type=kind,
        name=name,
        api_version=scope.text(source.get("apiVersion", "")),
        symbol=symbol,
        loop=loop,
        wanted=wanted and (parent is None or parent.wanted),
        existing=source.get("existing") is True,
        place=where,
        source=source,
        scope=scope,
        depends_on=tuple(scope.text(item) for item in source.get("dependsOn") or []),
    )


def _place_of(source: dict[str, Any], scope: Scope, place: Place) -> Place:
    group = scope.text(source["resourceGroup"]) if source.get("resourceGroup") else place.group
    subscription = scope.text(source["subscriptionId"]) if source.get("subscriptionId") else place.subscription
    return replace(place, group=group, subscription=subscription)


def _id(source: dict[str, Any], scope: Scope, place: Place, kind: str, name: str) -> str:
    names = name.split("/")
    if len(kind.split("/")) - 1 != len(names) or not all(names):
        raise invalid(
            f"The template resource '{name}' for type '{kind}' has incorrect segment lengths. A nested resource type "
            "must have identical number of segments as its resource name. A root resource type must have segment "
            f"length one greater than its resource name. {SYNTAX}"
        )
    if any(character in name for character in "?#%") or any(part in (".", "..") for part in names):
        raise ExpressionError(f"The resource name '{name}' has characters that a name cannot have")  # (inferred)
    if kind.lower() == GROUP_TYPE.lower():
        return f"/subscriptions/{place.subscription}/resourceGroups/{name}"
    base = place.base
    if source.get("scope"):
        base = scope.text(source["scope"])
        base = base.rstrip("/") if base.startswith("/") else f"{place.base}/providers/{base}"
    return base + id_of(kind, names)


def same_resource(planned: Planned, wanted: str) -> bool:
    """Return whether a text of a template means this resource: its id, its symbol, its name, or type and name."""
    text = wanted.lower().strip("/")
    own = planned.id.lower()
    if wanted.startswith("/"):  # of a group there are two ids: its own, and the one that subscriptionResourceId makes
        return wanted.lower() in (own, own.replace("/resourcegroups/", f"/providers/{GROUP_TYPE}/".lower()))
    return text in (planned.symbol.lower(), planned.name.lower()) or (
        "/" in text and own.endswith(f"/providers/{text}")
    )


def _waits_for(planned: Planned, all_of_them: list[Planned]) -> frozenset[int]:
    own = next(at for at, other in enumerate(all_of_them) if other is planned)
    places: set[int] = set()
    for wanted in planned.depends_on:
        met = {
            at
            for at, other in enumerate(all_of_them)
            if same_resource(other, wanted) or (other.loop and other.loop.lower() == wanted.lower())
        }
        if not met:
            raise invalid(f"The resource '{wanted}' is not defined in the template. {SYNTAX}")
        places |= met - {own} if met != {own} else met  # a name alone may be that of others as well
    for wanted in _referred(planned):
        places |= {at for at, other in enumerate(all_of_them) if same_resource(other, wanted)} - {own}
    return frozenset(places)


def _referred(planned: Planned) -> Iterator[str]:
    """Yield what `reference` without an api-version names in this resource: that is a dependency by itself."""
    for text in _expressions({k: v for k, v in planned.source.items() if k != "resources"}, whole=False):
        for call in _calls(parse_expression(text)):
            if call.name.lower() == "reference" and len(call.arguments) == 1:
                try:
                    yield planned.scope.text(planned.scope.value_of(call.arguments[0]))
                except (ExpressionError, UnknownYet):
                    continue  # said when the body is evaluated


def _ordered(found: list[Planned]) -> list[Planned]:
    order: list[int] = []
    waiting = dict.fromkeys(range(len(found)))
    while waiting:
        ready = [at for at in waiting if not found[at].waits_for & waiting.keys()]
        if not ready:
            raise invalid(f"Circular dependency detected on resource: '{found[next(iter(waiting))].id}'. {SYNTAX}")
        order += ready
        for at in ready:
            del waiting[at]
    place_of = {at: place for place, at in enumerate(order)}
    return [replace(found[at], waits_for=frozenset(place_of[w] for w in found[at].waits_for)) for at in order]
