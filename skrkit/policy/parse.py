"""Release policy text to model and back. Strict: an unknown member is an error, never dropped.

Each refusal carries the id of the rule that is broken. `salvage_policy` goes on after the first.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

from skrkit.encoding import b64url, b64url_bytes, json_type, json_value
from skrkit.errors import ParseError, PolicyError
from skrkit.policy.model import (
    AuthorityClause,
    Condition,
    Group,
    Operator,
    ReleasePolicy,
    Rule,
    Scalar,
    issuer_form,
    scalar_text,
)
from skrkit.wire import Json, pointer

SOURCE = "Azure Key Vault, secure key release policy grammar"
VERSIONS = ("1.0.0", "1.0")  # 1.0 is in recordings of 2021-22, which vaults accepted
MAX_POLICY_BYTES = 1 << 20  # Microsoft's policy for every region has 23,413 characters
MAX_NESTING = 32  # the grammar sets no limit; no published policy nests deeper than three
_WHOLE = '"" (the whole policy)'
_OPERATORS = {operator.value: operator for operator in Operator}
_RULES = {rule.value: rule for rule in Rule}
_SHAPE = '{"claim": <path>, "equals": <text, number, true or false>}'
_MEMBER = f"{_SHAPE}, or a group"
_CLAUSE = '{"authority": <URL>, "allOf": [conditions]}'
T = TypeVar("T")


def parse_policy(data: bytes | str) -> ReleasePolicy:
    """Return the policy in a JSON text, UTF-8.

    Raises `PolicyError` with the JSON pointer of what is wrong: not JSON, a member twice, unknown or missing, an
    empty list, both `allOf` and `anyOf`, no operator or several, a value that is no scalar.
    Source: Azure Key Vault, secure key release policy grammar.
    """
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    try:
        document = json_value(raw, what="release policy", where=_WHOLE, limit=MAX_POLICY_BYTES)
    except ParseError as error:
        fix = "Write the policy as one JSON object."
        _refuse(_WHOLE, error.expected, error.found, fix, what=error.what, rule="not-json")
    document = _document(document)
    version = _version(document)
    _only(document, {"version", "anyOf"}, "")
    clauses = _list(document, "anyOf", "")
    root = tuple(_clause(clause, pointer("anyOf", index)) for index, clause in enumerate(clauses))
    return ReleasePolicy(version=version, root=root, compact=_compact(document), raw=raw)


@dataclass(slots=True)
class Salvage:
    """What can be read of a malformed policy: whole clauses, conditions and authorities of broken ones, and why.

    `policy` is the whole, where nothing is broken. `authorities` are (text, JSON pointer). `errors` has every broken
    rule, in the order of the text.
    """

    policy: ReleasePolicy | None = None
    clauses: list[AuthorityClause] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    authorities: list[tuple[str, str]] = field(default_factory=list)
    errors: list[PolicyError] = field(default_factory=list)

    def attempt(self, step: Callable[[], T]) -> T | None:
        """Return what the step gives, or None when it refuses; the refusal is kept."""
        try:
            return step()
        except PolicyError as error:
            self.errors.append(error)
            return None


def salvage_policy(value: Json) -> Salvage:
    """Return what can be read of a JSON value that should be a policy. Never raises."""
    found = Salvage()
    document = found.attempt(lambda: _document(value))
    if document is None:
        return found
    compact = found.attempt(lambda: _compact(document)) or b""
    version = found.attempt(lambda: _version(document)) or ""
    found.attempt(lambda: _only(document, {"version", "anyOf"}, ""))
    for index, item in enumerate(found.attempt(lambda: _list(document, "anyOf", "")) or ()):
        _salvage_clause(item, pointer("anyOf", index), found)
    if not found.errors:
        found.policy = ReleasePolicy(version=version, root=tuple(found.clauses), compact=compact, raw=compact)
    return found


def _salvage_clause(value: Json, at: str, found: Salvage) -> None:
    try:
        found.clauses.append(_clause(value, at))
        return
    except PolicyError:  # now rule by rule, so that each is named
        clause = found.attempt(lambda: _object(value, at, _CLAUSE))
    if clause is None:
        return
    authority = found.attempt(lambda: _authority(clause, at))
    if authority is not None:
        found.authorities.append((authority, at + "/authority"))
    found.attempt(lambda: _only(clause, {"authority", *_RULES}, at))
    _salvage_group(clause, at, 1, found)


def _salvage_group(parent: dict[str, Json], at: str, depth: int, found: Salvage) -> None:
    name = found.attempt(lambda: _rule(parent, at, depth))
    if name is None:
        return
    for index, value in enumerate(found.attempt(lambda: _list(parent, name, at)) or ()):
        _salvage_member(value, at + pointer(name, index), depth, found)


def _salvage_member(value: Json, at: str, depth: int, found: Salvage) -> None:
    item = found.attempt(lambda: _object(value, at, _MEMBER))
    if item is None:
        return
    if _is_condition(item):
        condition = found.attempt(lambda: _condition(item, at))
        if condition is not None:
            found.conditions.append(condition)
        return
    found.attempt(lambda: _only(item, set(_RULES), at))
    _salvage_group(item, at, depth + 1, found)


def encode_policy(policy: ReleasePolicy) -> str:
    """Return `release_policy.data`: the policy without white space, UTF-8, in base64url without padding.

    Members keep the order in which they were written; the service decides on its own.
    """
    return b64url(policy.compact)


def decode_policy(text: str) -> ReleasePolicy:
    """Return the policy in a `release_policy.data`. Raises `PolicyError`: not base64url, or as `parse_policy`."""
    try:
        data = b64url_bytes(text, what="release policy data", where="/release_policy/data")
    except ParseError as error:
        fix = "Encode the JSON text in base64url, without padding."
        _refuse(error.where, error.expected, error.found, fix, rule="not-base64url")
    return parse_policy(data)


def _document(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        fix = 'Start with {"version": "1.0.0", "anyOf": […'
        _refuse(_WHOLE, "a JSON object", f"a JSON {json_type(value)}", fix, rule="not-an-object")
    return value


def _compact(document: Json) -> bytes:
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError as error:
        found = f"half a surrogate pair, U+{ord(error.object[error.start]):04X}"
        fix = "Take the escape out, or write both halves."
        _refuse(_WHOLE, "text that UTF-8 can carry", found, fix, rule="half-surrogate")


def _version(document: dict[str, Json]) -> str:
    if "version" not in document:
        fix = 'Add "version": "1.0.0"; a Managed HSM wants it.'
        _refuse("/version", '"1.0.0"', "nothing", fix, rule="version-missing")
    version = document["version"]
    if not isinstance(version, str) or version not in VERSIONS:
        fix = "Rewrite the policy in the grammar of 1.0.0; 0.2 is older."
        _refuse("/version", '"1.0.0"', json.dumps(version)[:80], fix, rule="version-unknown")
    return version


def _clause(value: Json, at: str) -> AuthorityClause:
    clause = _object(value, at, _CLAUSE)
    authority = _authority(clause, at)
    _only(clause, {"authority", *_RULES}, at)
    return AuthorityClause(
        authority=authority, issuer=issuer_form(authority), group=_group(clause, at, depth=1), pointer=at
    )


def _authority(clause: dict[str, Json], at: str) -> str:
    authority = clause.get("authority")
    if not isinstance(authority, str) or not authority:
        fix = "Write the issuer, such as https://<name>.attest.azure.net"
        _refuse(at + "/authority", "the provider's URL", _found(clause, "authority"), fix, rule="authority-missing")
    return authority


def _rule(parent: dict[str, Json], at: str, depth: int) -> str:
    rules = [name for name in _RULES if name in parent]
    if len(rules) != 1:
        found, rule = ("both", "rule-twice") if rules else ("neither", "rule-missing")
        _refuse(at, "one of anyOf and allOf", found, "Keep one; nest the other inside it.", rule=rule)
    name = rules[0]
    if depth > MAX_NESTING:
        expected = f"groups at most {MAX_NESTING} deep"
        _refuse(at + pointer(name), expected, "deeper nesting", "Flatten the policy.", rule="nested-too-deep")
    return name


def _group(parent: dict[str, Json], at: str, *, depth: int) -> Group:
    name = _rule(parent, at, depth)
    members = _list(parent, name, at)
    place = at + pointer(name)
    return Group(
        rule=_RULES[name],
        members=tuple(_member(item, place + pointer(index), depth) for index, item in enumerate(members)),
        pointer=place,
    )


def _member(value: Json, at: str, depth: int) -> Condition | Group:
    item = _object(value, at, _MEMBER)
    if _is_condition(item):
        return _condition(item, at)
    _only(item, set(_RULES), at)
    return _group(item, at, depth=depth + 1)


def _is_condition(item: dict[str, Json]) -> bool:
    return "claim" in item or not _RULES.keys() & item.keys()


def _condition(item: dict[str, Json], at: str) -> Condition:
    claim = item.get("claim")
    if not isinstance(claim, str) or not all(claim.split(".")):
        found = json.dumps(claim)[:80] if isinstance(claim, str) else _found(item, "claim")
        expected = "a claim's name, or names with a dot between"
        _refuse(at + "/claim", expected, found, f"Write {_SHAPE}.", rule="claim-missing")
    _only(item, {"claim", *_OPERATORS}, at)
    operators = [name for name in _OPERATORS if name in item]
    if len(operators) != 1:
        fix = 'Add "equals" with the value; give each further condition its own object.'
        found, rule = (" and ".join(operators), "operator-several") if operators else ("none", "operator-missing")
        _refuse(at, "one operator", found, fix, rule=rule)
    name = operators[0]
    value, text = _scalar(item[name], at + pointer(name))
    if name == Operator.EXISTS.value and text not in ("true", "false"):
        fix = "Ask for presence with true."
        _refuse(at + pointer(name), "true or false", json.dumps(value)[:80], fix, rule="value-not-boolean")
    return Condition(
        claim=claim,
        operator=_OPERATORS[name],
        text=text,
        value=value,
        steps=tuple(claim.split(".")),
        pointer=at,
    )


def _scalar(value: Json, at: str) -> tuple[Scalar, str]:
    text = scalar_text(value)
    if text is None or value is None or isinstance(value, dict | list):
        found = "a number beyond JSON's range" if isinstance(value, float) else f"a JSON {json_type(value)}"
        fix = "Compare one claim with one value; nest for several."
        _refuse(at, "a text, a number, true or false", found, fix, rule="value-not-scalar")
    return value, text


def _object(value: Json, at: str, expected: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        _refuse(at, expected, f"a JSON {json_type(value)}", "Write an object.", rule="not-an-object")
    return value


def _list(parent: dict[str, Json], name: str, at: str) -> list[Json]:
    value = parent.get(name)
    if not isinstance(value, list) or not value:
        found = "an empty array" if value == [] else _found(parent, name)
        fix = "An empty list would release to nobody, or to everybody: write what must hold."
        rule = "list-empty" if value == [] else "list-missing"
        _refuse(at + pointer(name), "an array of at least one", found, fix, rule=rule)
    return value


def _found(parent: dict[str, Json], name: str) -> str:
    if name not in parent:
        return "nothing"
    return '""' if parent[name] == "" else f"a JSON {json_type(parent[name])}"


def _only(item: dict[str, Json], known: set[str], at: str) -> None:
    unknown = [name for name in item if name not in known]
    if not unknown:
        return
    name = unknown[0]
    fix, rule = "Take it out: what the service does with it is not known.", "member-unknown"
    if name in _RULES and not at:
        fix, rule = "Put it inside an authority: the top has anyOf alone.", "rule-at-top"
    elif name == "condition":
        fix, rule = "That is the grammar of 0.2; write the operator as the member's name.", "grammar-old"
    elif name.lower() in {other.lower() for other in known}:
        fix, rule = "Names are case-sensitive.", "member-case"
    elif "claim" in known and not _OPERATORS.keys() & item.keys():
        fix, rule = "Write equals, the one operator that is documented to work.", "operator-unknown"
    expected = "no other member than " + ", ".join(sorted(known))
    _refuse(at + pointer(name), expected, ", ".join(unknown)[:200], fix, what="release policy member", rule=rule)


def _refuse(where: str, expected: str, found: str, fix: str, *, rule: str, what: str = "release policy") -> NoReturn:
    raise PolicyError(what=what, where=where, expected=expected, found=found, fix=fix, source=SOURCE, rule=rule)
