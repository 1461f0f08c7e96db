"""A deployment as it is asked for, made ready to be carried out, validated or predicted. Nothing is made here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from skrkit.sandbox.arm import errors
from skrkit.sandbox.arm.templates.arguments import Spent, member
from skrkit.sandbox.arm.templates.parameters import MASK, SECURE, Parameter, resolve
from skrkit.sandbox.arm.templates.places import Clock, Place
from skrkit.sandbox.arm.templates.planning import Planned, check_functions, plan
from skrkit.sandbox.arm.templates.refusals import invalid
from skrkit.sandbox.arm.templates.scope import LoopVariable, Scope
from skrkit.sandbox.arm.templates.shape import check_shape

MAX_DECLARED = {"parameters": 256, "variables": 512, "outputs": 64}  # documented limits
MAX_NESTED = 5  # levels of templates in templates; the sandbox's own limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A deployment whose parameters are settled and whose resources are in order."""

    name: str
    place: Place = field(repr=False)
    mode: str
    parameters: Mapping[str, Parameter] = field(repr=False)
    scope: Scope = field(repr=False)
    resources: tuple[Planned, ...]
    outputs: Mapping[str, Any]
    template_hash: str
    depth: int = 0


def prepare(
    name: str,
    place: Place,
    properties: dict[str, Any],
    clock: Clock,
    *,
    outer: Scope | None = None,
    depth: int = 0,
    masked: bool = False,
    spent: Spent | None = None,
) -> Prepared:
    """Return a deployment's parameters and resources. `outer` is the scope that a nested template's expressions see,
    `spent` what those around it have evaluated already.

    With `masked`, secure parameters stand as asterisks in what is made of them. Raises `AzureError` 400 for a template
    that Azure would not take, 501 for what the sandbox does not have.
    """
    template = _template(properties)
    mode = str(properties.get("mode", "Incremental"))
    if mode.lower() not in ("incremental", "complete"):  # the words are not known to the letter (inferred)
        raise errors.bad_request(f"The deployment mode '{mode}' is not valid.", code="InvalidRequestContent")
    if depth > MAX_NESTED:
        raise errors.not_here(f"templates nested more than {MAX_NESTED} deep")
    functions = _functions(template)
    if outer is None or depth == 0:
        check_functions(template, frozenset(_all_function_names(template)))
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    template_hash = str(int.from_bytes(digest[:8]))  # how Azure makes it is not published (inferred)
    declared = _declared(template)
    given = _members("parameters", properties.get("parameters") or {})
    open_ones = {key: entry for key, entry in given.items() if not _is_secure(declared, key)}
    shown = {"template": template, "templateHash": template_hash, "parameters": open_ones, "mode": mode}
    about = {"name": name, "properties": shown | {"provisioningState": "Accepted"}}
    scope = Scope(place=place, deployment=about, functions=functions, clock=clock, spent=spent or Spent())
    parameters = resolve(declared, given, scope)
    values = {
        known: MASK if masked and parameter.kind in SECURE else parameter.value
        for known, parameter in parameters.items()
    }
    scope = replace(scope, clock=None, parameters=values, variables=_variables(template), known={})
    if outer is not None:
        scope = outer
    return Prepared(
        name=name,
        place=place,
        mode=mode.capitalize(),
        parameters=parameters,
        scope=scope,
        resources=tuple(plan(template, scope, place)),
        outputs=_section(template, "outputs"),
        template_hash=template_hash,
        depth=depth,
    )


def _members(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise errors.bad_request(f"The property '{name}' must be an object.", code="InvalidRequestContent")
    return value


def _is_secure(declared: dict[str, Any], name: str) -> bool:
    return str((member(declared, name)[1] or {}).get("type", "")).lower().startswith("secure")


def _template(properties: dict[str, Any]) -> dict[str, Any]:
    for link in ("templateLink", "parametersLink"):
        if properties.get(link):
            raise errors.not_here(f"{link}: send the template itself, the sandbox fetches nothing")
    template = properties.get("template")
    if template is None:
        raise errors.bad_request(
            "The request content was invalid: a deployment must have a template.", code="InvalidRequestContent"
        )
    template = _members("template", template)
    check_shape(template)
    return template


def _section(template: dict[str, Any], name: str) -> dict[str, Any]:
    section: dict[str, Any] = template.get(name) or {}
    if len(section) > MAX_DECLARED.get(name, 256):
        raise invalid(
            f"The number of template {name} limit exceeded. Limit: '{MAX_DECLARED.get(name, 256)}' and actual: "
            f"'{len(section)}'. Please see https://aka.ms/arm-template/#template-limits for usage details."
        )
    return section


def _declared(template: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters with types that are declared elsewhere in the template put in."""
    definitions = _section(template, "definitions")
    declared: dict[str, Any] = {}
    for name, declaration in _section(template, "parameters").items():
        whole, seen = _members(name, declaration), 0
        while "$ref" in whole and seen < 10:
            _, target = member(definitions, str(whole["$ref"]).rpartition("/")[2])
            whole, seen = _members(name, target) | {k: v for k, v in whole.items() if k != "$ref"}, seen + 1
        declared[name] = whole
    return declared


def _variables(template: dict[str, Any]) -> dict[str, Any]:
    """Return the variables by name, those that a loop makes included."""
    raw = _section(template, "variables")
    made = {name: value for name, value in raw.items() if name.lower() != "copy"}
    loops = raw.get("copy")
    if isinstance(loops, list):
        for loop in loops:
            if not isinstance(loop, dict) or not {"name", "count", "input"} <= loop.keys():
                raise invalid(
                    "The template variable 'copy' is not valid: name, count and input are needed"
                )  # (inferred)
            made[str(loop["name"])] = LoopVariable(loop)
    return made


def _functions(template: dict[str, Any]) -> dict[str, Any]:
    """Return the user-defined functions by namespace and name, in lower case."""
    return {
        f"{space.get('namespace', '')}.{name}".lower(): declared
        for space in template.get("functions") or []
        for name, declared in (space.get("members") or {}).items()
    }


def _all_function_names(value: Any) -> set[str]:
    """Return the names of user-defined functions in a template and in those nested in it, which nobody checked yet."""
    names: set[str] = set()
    if isinstance(value, dict):
        for space in value["functions"] if isinstance(value.get("functions"), list) else ():
            members = space.get("members") if isinstance(space, dict) else None
            names |= {f"{space.get('namespace')}.{name}".lower() for name in members or ()}
        for item in value.values():
            names |= _all_function_names(item)
    elif isinstance(value, list):
        for item in value:
            names |= _all_function_names(item)
    return names
