"""The shape of a template: which of its members are objects, arrays and texts. The words are inferred throughout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skrkit.sandbox.arm.templates.refusals import SYNTAX, invalid

_NAMES: dict[type, str] = {dict: "an object", list: "an array", str: "a string"}
_RESOURCE = {"type": str, "name": str, "apiVersion": str, "dependsOn": list, "copy": dict, "scope": str,
             "resourceGroup": str, "subscriptionId": str}  # fmt: skip
_SECTIONS = {"parameters": dict, "variables": dict, "outputs": dict, "definitions": dict, "functions": list}


def check_shape(template: dict[str, Any]) -> None:
    """Return nothing for a template that has the shape of one. Raises `AzureError` 400 InvalidTemplate."""
    for required in ("contentVersion", "resources"):
        if required not in template:
            raise invalid(f"Required property '{required}' not found in JSON. Path 'properties.template'")
    _check_members(template, _SECTIONS, "")
    for section in ("parameters", "outputs"):
        for name, declared in (template.get(section) or {}).items():
            path = f"{section}.{name}"
            _check(declared, dict, path)
            _check_members(declared, {"copy": dict, "allowedValues": list}, path)
    _check_functions(template.get("functions") or [])
    resources = template["resources"]
    if not isinstance(resources, dict | list):
        raise _wrong("resources", "an array, or an object of them by symbolic name")
    _check_resources(resources, "resources")


def _check_functions(spaces: list[Any]) -> None:
    for at, space in enumerate(spaces):
        path = f"functions[{at}]"
        _check(space, dict, path)
        _check_members(space, {"namespace": str, "members": dict}, path)
        for name, declared in (space.get("members") or {}).items():
            inside = f"{path}.members.{name}"
            _check(declared, dict, inside)
            _check_members(declared, {"parameters": list, "output": dict}, inside)
            if "value" not in (declared.get("output") or {}):
                raise _wrong(f"{inside}.output.value", "there")
            for parameter in declared.get("parameters") or []:
                _check(parameter, dict, f"{inside}.parameters")
                _check(parameter.get("name"), str, f"{inside}.parameters.name")


def _check_resources(resources: Any, path: str) -> None:
    named = resources.items() if isinstance(resources, dict) else enumerate(resources)
    for name, source in named:
        here = f"{path}.{name}" if isinstance(name, str) else f"{path}[{name}]"
        _check(source, dict, here)
        _check_members(source, _RESOURCE, here)
        for required in ("type", "name"):
            _check(source.get(required), str, f"{here}.{required}")
        for wanted in source.get("dependsOn") or []:
            _check(wanted, str, f"{here}.dependsOn")
        if source.get("resources") is not None:
            _check(source["resources"], list, f"{here}.resources")
            _check_resources(source["resources"], f"{here}.resources")


def _check_members(owner: dict[str, Any], kinds: Mapping[str, type], path: str) -> None:
    for name, kind in kinds.items():
        if owner.get(name) is not None:
            _check(owner[name], kind, f"{path}.{name}".lstrip("."))


def _check(value: Any, kind: type, path: str) -> None:
    if not isinstance(value, kind):
        raise _wrong(path, _NAMES[kind])


def _wrong(path: str, wanted: str) -> Exception:
    return invalid(f"The template is not valid: '{path[:200]}' must be {wanted}. {SYNTAX}")
