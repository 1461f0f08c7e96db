"""What a decoded body may hold: what JSON can be made of again, and no deeper than any honest one is."""

from __future__ import annotations

import math
import re

MAX_DEPTH = 200  # nested deployments take about ten each; Python itself gives up at a thousand
_HALF = re.compile("[\ud800-\udfff]")


def reason_against(value: object) -> str:
    """Return what of a decoded value cannot be written as JSON again, or is too deep; an empty text if nothing is."""
    rest: list[tuple[object, int]] = [(value, 1)]
    while rest:
        each, depth = rest.pop()
        if isinstance(each, dict):
            inner: list[object] = [*each, *each.values()]
        else:
            inner = each if isinstance(each, list) else []
        if inner and depth > MAX_DEPTH:
            return f"it is nested deeper than {MAX_DEPTH} levels"
        if not inner and (reason := _reason_against_leaf(each)):
            return reason
        rest.extend((found, depth + 1) for found in inner)
    return ""


def _reason_against_leaf(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "a number is not finite"
    if isinstance(value, str) and not value.isascii() and _HALF.search(value):
        return "a text has half of a surrogate pair"
    return ""
