"""Why a condition does not hold, in a few words, and which claim was probably meant. Asked only after a no."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal

from skrkit.encoding import json_type
from skrkit.policy.model import Condition, Operator, issuer_form, scalar_text
from skrkit.wire import Json

MAX_PATHS = 2_000  # an MAA token has about 60
_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")


def decimal_of(value: Json) -> Decimal | None:
    """Return a JSON number, or a text that is one, exactly; None for anything else, booleans included."""
    text = None if isinstance(value, bool) else scalar_text(value)
    return Decimal(text) if text is not None and _NUMBER.fullmatch(text) else None


def claim_paths(claims: Mapping[str, Json]) -> Iterator[tuple[str, ...]]:
    """Return the path of every claim, objects on the way included, as steps. Arrays are not entered."""
    waiting: list[tuple[tuple[str, ...], Mapping[str, Json]]] = [((), claims)]
    count = 0
    while waiting:
        above, level = waiting.pop(0)
        for name, value in level.items():
            count += 1
            if count > MAX_PATHS:
                return
            yield (*above, name)
            if isinstance(value, Mapping):
                waiting.append(((*above, name), value))


def nearest_claim(path: str, claims: Mapping[str, Json]) -> str | None:
    """Return the path of the claim that was probably meant by one that is absent, or None.

    In this order: the same name somewhere else, the same letters in another case, a similar spelling.
    """
    wanted = path.split(".")
    paths = list(claim_paths(claims))
    for same in (lambda text: text, str.lower):
        ends = [same(step) for step in wanted]
        for size in (len(ends), 1):
            for steps in paths:
                if [same(step) for step in steps[-size:]] == ends[-size:] and list(steps) != wanted:
                    return ".".join(steps)
    close = difflib.get_close_matches(path, [".".join(steps) for steps in paths], n=1, cutoff=0.8)
    return close[0] if close else None


def elsewhere(path: str, text: str, claims: Mapping[str, Json]) -> str | None:
    """Return the path of another claim of the same name that has the value `text`, or None."""
    name = path.split(".")[-1]
    for steps in claim_paths(claims):
        if steps[-1] == name and ".".join(steps) != path and scalar_text(_value(steps, claims)) == text:
            return ".".join(steps)
    return None


def _value(steps: tuple[str, ...], claims: Mapping[str, Json]) -> Json:
    value: Json | Mapping[str, Json] = claims
    for step in steps:
        value = value[step] if isinstance(value, Mapping) else None
    return None if isinstance(value, Mapping) else value


def leaf_hint(condition: Condition, found: Json, claims: Mapping[str, Json], *, extended: bool) -> str:
    """Return why a condition does not hold, in a few words. `found` is the claim's value, None when it is absent."""
    if condition.operator is not Operator.EQUALS and not extended:
        return f"the service documents equals alone; {condition.operator.value} counts as not met"
    if not _present(condition, claims):
        return _absent_hint(condition.claim, claims)
    if found is None or isinstance(found, dict | list):
        return f"the claim is a JSON {json_type(found)}: only texts, numbers and booleans are compared"
    if condition.operator is not Operator.EQUALS:
        return "the claim's value does not satisfy the operator"
    other = elsewhere(condition.claim, condition.text, claims)
    hint = _value_hint(condition.value, found)
    return f"{hint}; {other} has the one asked for" if other else hint


def _present(condition: Condition, claims: Mapping[str, Json]) -> bool:
    value: Json | Mapping[str, Json] = claims
    for step in condition.steps:
        if not isinstance(value, Mapping) or step not in value:
            return False
        value = value[step]
    return True


def _absent_hint(claim: str, claims: Mapping[str, Json]) -> str:
    if "." in claim and claim in claims:
        return "a claim whose own name has a dot cannot be addressed: the path is split there"
    nearest = nearest_claim(claim, claims)
    if nearest is None:
        return "the token has no such claim"
    if nearest.lower() == claim.lower():
        return f"case differs: the token has {nearest}"
    if nearest.split(".")[-1] == claim.split(".")[-1]:
        return f"the claim stands elsewhere: {nearest}"
    return f"the token has no such claim; the nearest is {nearest}"


def _value_hint(expected: Json, found: Json) -> str:
    wanted, have = scalar_text(expected) or "", scalar_text(found) or ""
    if wanted.lower() == have.lower():
        if isinstance(found, bool):
            return f"the claim is a boolean: write {have} or {have!r} in lower case".replace("'", '"')
        return "case differs"
    if wanted.strip() == have.strip():
        return "white space differs"
    if wanted.rstrip("/") == have.rstrip("/"):
        return "a trailing slash differs"
    if isinstance(found, bool) != (wanted in ("true", "false")):
        return f"the claim is a JSON {json_type(found)}, the policy asks for {wanted!r}"
    return "the value differs"


def issuer_hint(authority: str, issuer: Json) -> str:
    """Return why an authority does not apply to a token's `iss`, in a few words."""
    if not isinstance(issuer, str) or not issuer:
        return "the token has no iss"
    asked, have = issuer_form(authority), issuer_form(issuer)
    if asked.lower() == have.lower():
        return "case differs"
    if asked.rstrip("/") == have.rstrip("/"):
        return "more than one trailing slash differs"
    if asked.partition("://")[2] == have.partition("://")[2]:
        return "the scheme differs: an authority is https"
    return "the token is of another authority"
