"""The parameters of a template: what is given for them, held against what they are declared as."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from skrkit.sandbox.arm import errors
from skrkit.sandbox.arm.templates.arguments import bounded, member, type_name
from skrkit.sandbox.arm.templates.refusals import ExpressionError, invalid, invalid_part
from skrkit.sandbox.arm.templates.scope import Scope
from skrkit.sandbox.arm.templates.texts import string_of
from skrkit.sandbox.arm.templates.values import same
from skrkit.sandbox.web import AzureError

TYPES = {
    "string": ("String", str),
    "securestring": ("SecureString", str),
    "int": ("Int", int),
    "bool": ("Bool", bool),
    "array": ("Array", list),
    "object": ("Object", dict),
    "secureobject": ("SecureObject", dict),
}
SECURE = ("SecureString", "SecureObject")
MASK = "*******"
_LIMITS = (("minLength", "maxLength", str), ("minLength", "maxLength", list), ("minValue", "maxValue", int))


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter with its value: `kind` is the type as Azure writes it. A secure one is never shown."""

    name: str
    kind: str
    value: Any = field(repr=False)

    def shown(self) -> dict[str, Any]:
        """Return it as a deployment shows it: a secure one without its value."""
        return {"type": self.kind} | ({} if self.kind in SECURE else {"value": self.value})


def declared_kind(declaration: dict[str, Any]) -> tuple[str, type]:
    """Return a declared type as Azure writes it, and Python's for it. Raises `AzureError` 400 for any other."""
    found = TYPES.get(str(declaration.get("type", "")).lower())
    if found is None:  # the words are not known to the letter (inferred)
        raise invalid(
            f"The template parameter type '{declaration.get('type')}' is not valid. Supported types are "
            f"'{', '.join(kind for kind, _ in TYPES.values())}'"
        )
    return found


def resolve(declared: dict[str, Any], given: dict[str, Any], scope: Scope) -> dict[str, Parameter]:
    """Return the parameters with their values: those given, and the defaults of the others, which `scope` evaluates.

    `given` are `{"value": ...}` by name, in any case. Raises `AzureError` 400 InvalidTemplate.
    """
    unknown = [name for name in given if not member(declared, name)[0]]
    if unknown:
        raise invalid(
            f"The template parameters '{', '.join(unknown)}' in the parameters file are not valid; they are not "
            "present in the original template and can therefore not be provided at deployment time. The only supported "
            f"parameters for this template are '{', '.join(declared)}'. Please see "
            "https://aka.ms/arm-pass-parameter-values for usage details."
        )
    values: dict[str, Any] = {}
    waiting = list(declared)
    while waiting:  # a default may use any other parameter, whichever is declared first
        late = [name for name in waiting if not _valued(name, declared, given, scope, values)]
        if len(late) == len(waiting):
            _evaluated(late[0], declared[late[0]]["defaultValue"], scope, values)  # says what is wrong with it
        waiting = late
    return {name: _checked(name, declaration, values[name]) for name, declaration in declared.items()}


def _checked(name: str, declaration: dict[str, Any], value: Any) -> Parameter:
    kind, python_type = declared_kind(declaration)
    if value is not None or declaration.get("nullable") is not True:
        _check_type(name, kind, python_type, value)
        _check_limits(name, kind, declaration, value)
    return Parameter(name, kind, value)


def _valued(name: str, declared: dict[str, Any], given: dict[str, Any], scope: Scope, values: dict[str, Any]) -> bool:
    """Return whether the parameter has its value in `values` now: not while a default asks for one without."""
    declaration = declared[name]
    there, entry = member(given, name)
    if there and isinstance(entry, dict) and "reference" in entry:
        raise errors.not_here("parameters that are secrets of a vault")
    if there and isinstance(entry, dict) and "value" in entry:
        values[name] = entry["value"]
    elif "defaultValue" in declaration:
        try:
            values[name] = _evaluated(name, declaration["defaultValue"], scope, values)
        except AzureError:
            return False
    elif declaration.get("nullable") is True:
        values[name] = None
    else:
        raise invalid(
            f"The value for the template parameter '{name}' is not provided. Please see "
            "https://aka.ms/arm-create-parameter-file for usage details."
        )
    return True


def _evaluated(name: str, default: Any, scope: Scope, values: dict[str, Any]) -> Any:
    try:
        return bounded(replace(scope, parameters=values, known={}).evaluate(default))
    except ExpressionError as error:
        raise invalid_part("parameter", name, error) from None


def _check_type(name: str, kind: str, python_type: type, value: Any) -> None:
    if isinstance(value, python_type) and (python_type is not int or not isinstance(value, bool)):
        return
    expected = {"Int": "Integer", "Bool": "Boolean", "Array": "Array"}.get(
        kind, "String, Uri" if python_type is str else "Object"
    )
    raise invalid(
        f"Template parameter JToken type is not valid. Expected '{expected}'. Actual '{type_name(value)}'. The "
        f"parameter is '{name}'. Please see https://aka.ms/arm-deploy/#parameter-file for usage details."
    )


def _check_limits(name: str, kind: str, declaration: dict[str, Any], value: Any) -> None:
    shown = MASK if kind in SECURE else string_of(value)[:200]
    allowed = declaration.get("allowedValues")
    if isinstance(allowed, list):
        chosen = value if isinstance(value, list) else [value]
        if not any(same(value, one) for one in allowed) and not all(any(same(c, a) for a in allowed) for c in chosen):
            listed = ",".join(string_of(one) for one in allowed)
            raise invalid(
                f"The provided value '{shown}' for the template parameter '{name}' is not valid. The value '{shown}' "
                f"is not part of the allowed value(s): '{listed}'."
            )
    for least, most, python_type in _LIMITS:
        if not isinstance(value, python_type) or isinstance(value, bool):
            continue
        size = value if isinstance(value, int) else len(value)
        for limit, broken in ((least, "minimum"), (most, "maximum")):
            bound = declaration.get(limit)
            if isinstance(bound, int) and (size < bound if limit == least else size > bound):
                _refuse_size(name, shown, limit, broken, bound)


def _refuse_size(name: str, shown: str, limit: str, broken: str, bound: int) -> None:
    """Raise for a value outside its limits. The words are not known to the letter (inferred)."""
    what = "length" if limit.endswith("Length") else "value"
    raise invalid(
        f"The provided value '{shown}' for the template parameter '{name}' is not valid. The {broken} {what} of the "
        f"parameter is '{bound}'."
    )
