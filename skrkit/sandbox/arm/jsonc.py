"""JSON as Resource Manager takes it of a deployment: with comments, names without quotes, texts over several lines.

The Azure CLI sends templates so: as their authors wrote them, under a name that has no quotes.
Source: "Understand the structure and syntax of ARM templates" in Azure's documents, multi-line strings and comments.
"""

from __future__ import annotations

import json
import re

_TOKEN = re.compile(
    r"""
    "(?:\\.|[^"\\])*(?:"|\Z)            # a text, to its end or the end of all
    | '(?P<single>(?:\\.|[^'\\])*)(?:'|\Z)
    | (?P<comment> //[^\r\n]* | /\*.*?(?:\*/|\Z) )
    | (?<![\w$])(?P<name> [A-Za-z_$][\w$]*+ )(?=\s*+:)
    """,
    re.VERBOSE | re.DOTALL,
)


def decode_jsonc(raw: bytes) -> object:
    """Return the value of a JSON text that may have comments, bare names, texts in single quotes or of several lines.

    Raises `ValueError` or `RecursionError` as `json.loads` does; what neither JSON nor this allows stays refused.
    """
    text = raw.decode("utf-8-sig")
    return json.loads(_TOKEN.sub(_strict, text), strict=False)


def _strict(match: re.Match[str]) -> str:
    if match["comment"] is not None:
        return " "
    if match["name"] is not None:
        return f'"{match["name"]}"'
    if match["single"] is not None:
        inner = match["single"].replace(r"\'", "'")
        return '"' + re.sub(r'(\\.)|"', lambda found: found[1] or r"\"", inner, flags=re.DOTALL) + '"'
    return match[0]
