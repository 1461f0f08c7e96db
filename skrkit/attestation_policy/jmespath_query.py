"""JMESPath over a JSON value, by the library of that name, bounded: a short query can ask for a result without end.

`equals_ignore_case` is the service's own addition: Microsoft's sample policies call it, and no document defines it
(inferred: two texts that are equal but for their case).
"""

from __future__ import annotations

from typing import Any

import jmespath
from jmespath import exceptions, functions, visitor

from skrkit.attestation_policy.functions import MAX_TEXT_CHARACTERS, json_text
from skrkit.wire import Json

MAX_NODES = 100_000
MAX_QUERY_CHARACTERS = 1 << 16
# What makes a result that is larger than what it was made of; whatever else there is selects.
_GROWING = frozenset({"multi_select_list", "multi_select_dict", "function_expression", "flatten", "projection"})
# What the library lets through for operands of the wrong kind, besides its own errors.
_FAILURES = (
    exceptions.JMESPathError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
)


class QueryRefused(Exception):
    """A query that is none, or that cannot be evaluated here; the text says why."""


class _Functions(functions.Functions):  # type: ignore[misc]  # the library has no types
    @functions.signature({"types": ["string", "null"]}, {"types": ["string", "null"]})  # type: ignore[untyped-decorator]
    def _func_equals_ignore_case(self, first: str | None, second: str | None) -> bool:
        return first is not None and second is not None and first.casefold() == second.casefold()


class _Bounded(visitor.TreeInterpreter):  # type: ignore[misc]  # the library has no types
    def visit(self, node: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Return what a node finds, unless that has grown beyond all measure."""
        found = super().visit(node, *args, **kwargs)
        if node["type"] in _GROWING and _exceeds(found):
            raise QueryRefused(f"its result has more than {MAX_NODES} parts, or a text that is too long")
        return found


def _exceeds(value: Any) -> bool:
    """Return whether a result has too many parts, each counted as often as it is held."""
    left, stack = MAX_NODES, [value]
    while stack:
        part = stack.pop()
        left -= 1 + (len(part) if isinstance(part, list | dict) else 0)
        if left < 0 or (isinstance(part, str) and len(part) > MAX_TEXT_CHARACTERS):
            return True
        stack += part if isinstance(part, list) else part.values() if isinstance(part, dict) else ()
    return False


def search(query: str, document: Json) -> str:
    """Return the JSON text of what the query finds. Raises `QueryRefused`, and nothing else."""
    if len(query) > MAX_QUERY_CHARACTERS:
        raise QueryRefused(f"it has more than {MAX_QUERY_CHARACTERS} characters")
    try:
        parsed = jmespath.compile(query).parsed
        found = _Bounded(jmespath.Options(custom_functions=_Functions())).visit(parsed, document)
        text = json_text(found)
    except _FAILURES as cause:
        raise QueryRefused(str(cause).partition("\n")[0] or type(cause).__name__) from None
    if len(text) > MAX_TEXT_CHARACTERS:
        raise QueryRefused(f"its result has more than {MAX_TEXT_CHARACTERS} characters")
    return text
