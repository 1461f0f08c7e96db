"""Template functions on arrays, objects, numbers and truth values."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from skrkit.sandbox.arm.templates.arguments import (
    Arguments,
    Function,
    array,
    boolean,
    member,
    number,
    obj,
    text,
    wrong,
)
from skrkit.sandbox.arm.templates.refusals import ExpressionError
from skrkit.sandbox.arm.templates.texts import string_of

MAX_RANGE = 10_000  # documented


def same(left: Any, right: Any) -> bool:
    """Return whether two values are equal: texts with their case, and true is not 1."""
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(*pair) for pair in zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


def _among(value: Any, items: list[Any]) -> bool:
    return any(same(value, item) for item in items)


def _identity(value: Any) -> Any:
    """Return what can stand in a set, and is equal for two values where they are the same."""
    if isinstance(value, bool):
        return ("Boolean", value)
    if isinstance(value, list):
        return ("Array", tuple(map(_identity, value)))
    if isinstance(value, dict):
        return ("Object", frozenset((key, _identity(item)) for key, item in value.items()))
    return value


def _concat(given: Arguments) -> Any:
    if isinstance(given[0], list):
        return [item for part in given for item in array("concat", part)]
    if any(isinstance(part, list | dict) or part is None for part in given):
        raise wrong("concat", "texts, or arrays alone", next(p for p in given if isinstance(p, list | dict) or not p))
    return "".join(string_of(part) for part in given)


def _contains(given: Arguments) -> bool:
    container, wanted = given
    if isinstance(container, str):
        return string_of(wanted) in container
    if isinstance(container, dict):
        return member(container, text("contains", wanted))[0]
    return _among(wanted, array("contains", container))


def _ended(name: str, place: int) -> Callable[[Arguments], Any]:
    def run(given: Arguments) -> Any:
        value = given[0]
        if isinstance(value, str):
            return value[place : place + 1] if place == 0 else value[-1:]
        return array(name, value)[place] if array(name, value) else None

    return run


def _position(name: str, *, last: bool) -> Callable[[Arguments], int]:
    def run(given: Arguments) -> int:
        value, wanted = given
        if isinstance(value, str):
            whole, part = value.lower(), text(name, wanted).lower()
            return whole.rfind(part) if last else whole.find(part)
        places = [place for place, item in enumerate(array(name, value)) if same(item, wanted)]
        return -1 if not places else places[-1 if last else 0]

    return run


def _taken(name: str) -> Callable[[Arguments], Any]:
    def run(given: Arguments) -> Any:
        value, count = given[0], max(number(name, given[1]), 0)
        if not isinstance(value, str | list):
            raise wrong(name, "an array or a string", value)
        return value[count:] if name == "skip" else value[:count]

    return run


def _length(given: Arguments) -> int:
    if not isinstance(given[0], str | list | dict):
        raise wrong("length", "an array, an object or a string", given[0])
    return len(given[0])


def _union(given: Arguments) -> Any:
    if isinstance(given[0], dict):
        merged: dict[str, Any] = {}
        for part in given:
            merged = _merged(merged, obj("union", part))
        return merged
    distinct: dict[Any, Any] = {}
    for part in given:
        for item in array("union", part):
            distinct.setdefault(_identity(item), item)
    return list(distinct.values())


def _merged(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The later member wins; objects in both are merged in their turn, arrays are not."""
    merged = dict(before)
    for key, value in after.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _intersection(given: Arguments) -> Any:
    if isinstance(given[0], dict):
        others = [obj("intersection", part) for part in given[1:]]
        return {
            key: value
            for key, value in given[0].items()
            if all(key in other and same(other[key], value) for other in others)
        }
    arrays = [array("intersection", part) for part in given]
    others_have = [set(map(_identity, other)) for other in arrays[1:]]
    return [item for item in arrays[0] if all(_identity(item) in other for other in others_have)]


def _extreme(name: str, choose: Callable[[list[int]], int]) -> Callable[[Arguments], int]:
    def run(given: Arguments) -> int:
        numbers = given[0] if isinstance(given[0], list) else list(given)
        if not numbers:
            raise wrong(name, "one number at least", numbers)
        return choose([number(name, item) for item in numbers])

    return run


def _range(given: Arguments) -> list[int]:
    start, count = number("range", given[0]), number("range", given[1])
    if not 0 <= count <= MAX_RANGE:
        raise wrong("range", f"a count of 0 to {MAX_RANGE}", count)
    return list(range(start, start + count))


def _create_object(given: Arguments) -> dict[str, Any]:
    if len(given) % 2:
        raise wrong("createObject", "keys and values in pairs", given[-1])
    return {text("createObject", given[at]): given[at + 1] for at in range(0, len(given), 2)}


def _try_get(given: Arguments) -> Any:
    value = given[0]
    for key in given[1:]:
        if isinstance(value, dict) and isinstance(key, str):
            value = member(value, key)[1]
        elif isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            return None
    return value


def _int(given: Arguments) -> int:
    value = given[0]
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool) and len(str(value)) <= 32:
            return int(value)
    except (ValueError, OverflowError):
        pass
    raise wrong("int", "a number or a text of one", value)


def _float(given: Arguments) -> float:
    try:
        return float(given[0])
    except (TypeError, ValueError, OverflowError):
        raise wrong("float", "a number or a text of one", given[0]) from None


def _bool(given: Arguments) -> bool:
    value = given[0]
    if isinstance(value, str) and value.strip().lower() in ("true", "1", "false", "0"):
        return value.strip().lower() in ("true", "1")
    if isinstance(value, int):
        return bool(value)
    raise wrong("bool", "an integer, or the text of a boolean", value)


def _sum(name: str, run: Callable[[int, int], int]) -> Function:
    def safe(given: Arguments) -> int:
        left, right = number(name, given[0]), number(name, given[1])
        if right == 0 and name in ("div", "mod"):
            raise ExpressionError(f"Unable to evaluate template language function '{name}': the divisor is zero.")
        result = run(left, right)
        if abs(result) >= 1 << 63:
            raise ExpressionError(f"Unable to evaluate template language function '{name}': the result is too large.")
        return result

    return Function(least=2, most=2, run=safe)


def _div(left: int, right: int) -> int:
    whole = abs(left) // abs(right)
    return whole if (left < 0) is (right < 0) else -whole


def _compared(name: str, holds: Callable[[Any, Any], bool]) -> Function:
    def run(given: Arguments) -> bool:
        left, right = given
        if isinstance(left, str):
            return holds(left, text(name, right))
        return holds(number(name, left), number(name, right))

    return Function(least=2, most=2, run=run)


def _from_epoch(given: Arguments) -> str:
    try:
        return datetime.fromtimestamp(number("dateTimeFromEpoch", given[0]), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        raise wrong("dateTimeFromEpoch", "seconds since 1970", given[0]) from None


def _to_epoch(given: Arguments) -> int:
    try:
        moment = datetime.fromisoformat(text("dateTimeToEpoch", given[0]))
    except ValueError:
        raise wrong("dateTimeToEpoch", "a time in ISO 8601", given[0]) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _network(name: str, value: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text(name, value), strict=False)
    except ValueError:
        raise wrong(name, "a network in CIDR notation", value) from None


def _cidr_subnet(given: Arguments) -> str:
    network, prefix, place = (
        _network("cidrSubnet", given[0]),
        number("cidrSubnet", given[1]),
        number("cidrSubnet", given[2]),
    )
    if not network.prefixlen <= prefix <= network.max_prefixlen or not 0 <= place < 1 << prefix - network.prefixlen:
        raise wrong("cidrSubnet", "a prefix and an index that lie in the network", place)
    first = int(network.network_address) + (place << network.max_prefixlen - prefix)
    return f"{type(network.network_address)(first)}/{prefix}"


def _cidr_host(given: Arguments) -> str:
    network, place = _network("cidrHost", given[0]), number("cidrHost", given[1])
    if not 0 <= place < network.num_addresses - 1:
        raise wrong("cidrHost", "an index that lies in the network", place)
    return str(network.network_address + place + 1)


def _ordered(given: Arguments) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in sorted(obj("items", given[0]).items())]


def _function(least: int, most: int | None, run: Callable[[Arguments], Any]) -> Function:
    return Function(least=least, most=most, run=run)


FUNCTIONS = {
    "array": _function(1, 1, lambda given: given[0] if isinstance(given[0], list) else [given[0]]),
    "concat": _function(1, None, _concat),
    "contains": _function(2, 2, _contains),
    "createArray": _function(0, None, list),
    "empty": _function(1, 1, lambda given: given[0] is None or _length(given) == 0),
    "first": _function(1, 1, _ended("first", 0)),
    "last": _function(1, 1, _ended("last", -1)),
    "flatten": _function(1, 1, lambda given: [i for a in array("flatten", given[0]) for i in array("flatten", a)]),
    "indexOf": _function(2, 2, _position("indexOf", last=False)),
    "lastIndexOf": _function(2, 2, _position("lastIndexOf", last=True)),
    "intersection": _function(2, None, _intersection),
    "length": _function(1, 1, _length),
    "max": _function(1, None, _extreme("max", max)),
    "min": _function(1, None, _extreme("min", min)),
    "range": _function(2, 2, _range),
    "skip": _function(2, 2, _taken("skip")),
    "take": _function(2, 2, _taken("take")),
    "union": _function(2, None, _union),
    "tryGet": _function(2, None, _try_get),
    "createObject": _function(0, None, _create_object),
    "items": _function(1, 1, _ordered),
    "objectKeys": _function(1, 1, lambda given: sorted(obj("objectKeys", given[0]))),
    "shallowMerge": _function(
        1,
        1,
        lambda given: {k: v for part in array("shallowMerge", given[0]) for k, v in obj("shallowMerge", part).items()},
    ),
    "null": _function(0, 0, lambda _: None),
    "true": _function(0, 0, lambda _: True),
    "false": _function(0, 0, lambda _: False),
    "not": _function(1, 1, lambda given: not boolean("not", given[0])),
    "bool": _function(1, 1, _bool),
    "int": _function(1, 1, _int),
    "float": _function(1, 1, _float),
    "add": _sum("add", lambda left, right: left + right),
    "sub": _sum("sub", lambda left, right: left - right),
    "mul": _sum("mul", lambda left, right: left * right),
    "div": _sum("div", _div),
    "mod": _sum("mod", lambda left, right: left - _div(left, right) * right),
    "equals": _function(2, 2, lambda given: same(*given)),
    "less": _compared("less", lambda left, right: left < right),
    "lessOrEquals": _compared("lessOrEquals", lambda left, right: left <= right),
    "greater": _compared("greater", lambda left, right: left > right),
    "greaterOrEquals": _compared("greaterOrEquals", lambda left, right: left >= right),
    "dateTimeFromEpoch": _function(1, 1, _from_epoch),
    "dateTimeToEpoch": _function(1, 1, _to_epoch),
    "cidrSubnet": _function(3, 3, _cidr_subnet),
    "cidrHost": _function(2, 2, _cidr_host),
}
