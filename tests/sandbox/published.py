"""Microsoft's published shapes, as Azure's own clients carry them: they are generated from the OpenAPI documents.

Two generations of generated models say the same in two ways: typed fields, and a table of texts.
"""

from __future__ import annotations

import importlib
import re
import sys
import types
import typing
from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

_SIMPLE = {str: str, bool: bool, int: int, float: (int, float), bytes: str, datetime: str, timedelta: str}
_NAMED = {
    "str": str, "bool": bool, "int": int, "long": int, "float": (int, float), "iso-8601": str, "unix-time": int,
    "duration": str, "base64": str, "bytearray": str,
}  # fmt: skip
_WORDS = {str: "a text", bool: "true or false", int: "a number", (int, float): "a number"}


def differences(model: type, value: Any, at: str = "") -> Iterator[str]:
    """Yield what of a decoded answer is not as the model has it: members unknown, missing, or of another type."""
    if not isinstance(value, dict):
        yield f"{at or '/'}: an object is expected, not {value!r}"
    elif hasattr(model, "_attribute_map"):
        yield from _table_differences(model, _tree(model), value, at)
    else:
        yield from _field_differences(model, value, at)


def list_of(model: type, value: Any) -> Iterator[str]:
    """Yield the same of a page: `value`, with at least one entry, and perhaps `nextLink`."""
    if not (isinstance(value, dict) and value.get("value") and set(value) <= {"value", "nextLink"}):
        yield f"/: a page with entries is expected, not {value!r:.200}"
        return
    for index, each in enumerate(value["value"]):
        yield from differences(model, each, f"/value/{index}")


def _unlike(value: Any, kind: Any, at: str) -> Iterator[str]:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        yield f"{at}: {_WORDS[kind]} is expected, not {value!r}"


# ---- typed fields


def _field_differences(model: Any, value: dict[str, Any], at: str) -> Iterator[str]:
    try:
        model()  # the first instance makes the table of fields
    except TypeError:
        model({})
    package = importlib.import_module(sys.modules[model.__module__].__package__ or "")
    hints = typing.get_type_hints(model, localns={"_models": package, "datetime": sys.modules["datetime"]})
    fields = {field._rest_name: (name, field) for name, field in model._attr_to_rest_field.items()}
    for name in value.keys() - fields.keys():
        yield f"{at}/{name}: unknown"
    for rest_name, (name, field) in fields.items():
        readable = field._visibility is None or "read" in field._visibility
        if rest_name in value:
            hint = int if field._format == "unix-timestamp" else hints[name]
            yield from _hint_differences(hint, value[rest_name], f"{at}/{rest_name}")
        elif readable and not field._is_optional:
            yield f"{at}/{rest_name}: missing"


def _hint_differences(hint: Any, value: Any, at: str) -> Iterator[str]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        found = [list(_hint_differences(each, value, at)) for each in arguments]
        if all(found):
            yield from min(found, key=len)
    elif origin in (list, dict):
        if not isinstance(value, origin):
            yield f"{at}: a {origin.__name__} is expected, not {value!r}"
            return
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for name, each in inner:
            yield from _hint_differences(arguments[-1], each, f"{at}/{name}")
    else:
        yield from _plain_differences(hint, value, at)


def _plain_differences(hint: Any, value: Any, at: str) -> Iterator[str]:
    if hint in _SIMPLE:
        yield from _unlike(value, _SIMPLE[hint], at)
    elif hint is type(None):
        yield from () if value is None else (f"{at}: null is expected",)
    elif isinstance(hint, type) and issubclass(hint, Enum):
        yield from () if value in [each.value for each in hint] else (f"{at}: {value!r} is not in {hint.__name__}",)
    elif hasattr(hint, "_deserialize") and hasattr(hint, "as_dict"):
        yield from differences(hint, value, at)


# ---- tables of texts


def _tree(model: Any) -> dict[str, Any]:
    """Return the members of a flattened model as the tree of objects that travels: a type, or a tree, by name."""
    tree: dict[str, Any] = {}
    for entry in model._attribute_map.values():
        inner = tree
        *outer, last = [part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", entry["key"])]
        for part in outer:
            inner = inner.setdefault(part, {})
        inner[last] = entry["type"]
    return tree


def _table_differences(model: type, tree: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at}: an object is expected, not {value!r}"
        return
    for name, each in value.items():
        if name not in tree:
            yield f"{at}/{name}: unknown"
        elif isinstance(tree[name], dict):
            yield from _table_differences(model, tree[name], each, f"{at}/{name}")
        elif each is not None:
            yield from _text_differences(model, tree[name], each, f"{at}/{name}")


def _text_differences(model: type, text: str, value: Any, at: str) -> Iterator[str]:
    if text in _NAMED:
        yield from _unlike(value, _NAMED[text], at)
    elif text[0] in "[{":
        inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
        if isinstance(value, list) != (text[0] == "["):
            yield f"{at}: {text} is expected, not {value!r}"
        for index, each in enumerate(inner):
            yield from _text_differences(model, text[1:-1], each, f"{at}/{index}")
    elif text != "object":
        found = getattr(sys.modules[model.__module__], text, None)
        package = sys.modules[sys.modules[model.__module__].__package__ or ""]
        found = found or getattr(package, text)
        yield from differences(found, value, at) if not issubclass(found, Enum) else ()
