"""Release policy text to model and back. Strict: an unknown member is an error, never dropped."""

from __future__ import annotations

import json
from typing import NoReturn

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
        _refuse(_WHOLE, error.expected, error.found, "Write the policy as one JSON object.", what=error.what)
    if not isinstance(document, dict):
        _refuse(_WHOLE, "a JSON object", f"a JSON {json_type(document)}", 'Start with {"version": "1.0.0", "anyOf": […')
    version = _version(document)
    _only(document, {"version", "anyOf"}, "")
    clauses = _list(document, "anyOf", "")
    root = tuple(_clause(clause, pointer("anyOf", index)) for index, clause in enumerate(clauses))
    return ReleasePolicy(version=version, root=root, compact=_compact(document), raw=raw)


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
        _refuse(error.where, error.expected, error.found, "Encode the JSON text in base64url, without padding.")
    return parse_policy(data)


def _compact(document: Json) -> bytes:
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError as error:
        found = f"half a surrogate pair, U+{ord(error.object[error.start]):04X}"
        _refuse(_WHOLE, "text that UTF-8 can carry", found, "Take the escape out, or write both halves.")


def _version(document: dict[str, Json]) -> str:
    if "version" not in document:
        _refuse("/version", '"1.0.0"', "nothing", 'Add "version": "1.0.0"; a Managed HSM wants it.')
    version = document["version"]
    if not isinstance(version, str) or version not in VERSIONS:
        _refuse(
            "/version", '"1.0.0"', json.dumps(version)[:80], "Rewrite the policy in the grammar of 1.0.0; 0.2 is older."
        )
    return version


def _clause(value: Json, at: str) -> AuthorityClause:
    clause = _object(value, at, '{"authority": <URL>, "allOf": [conditions]}')
    authority = clause.get("authority")
    if not isinstance(authority, str) or not authority:
        found = _found(clause, "authority")
        _refuse(
            at + "/authority", "the provider's URL", found, "Write the issuer, such as https://<name>.attest.azure.net"
        )
    _only(clause, {"authority", *_RULES}, at)
    return AuthorityClause(
        authority=authority, issuer=issuer_form(authority), group=_group(clause, at, depth=1), pointer=at
    )


def _group(parent: dict[str, Json], at: str, *, depth: int) -> Group:
    rules = [name for name in _RULES if name in parent]
    if len(rules) != 1:
        found = "neither" if not rules else "both"
        _refuse(at, "one of anyOf and allOf", found, "Keep one; nest the other inside it.")
    name = rules[0]
    if depth > MAX_NESTING:
        _refuse(at + pointer(name), f"groups at most {MAX_NESTING} deep", "deeper nesting", "Flatten the policy.")
    members = _list(parent, name, at)
    place = at + pointer(name)
    return Group(
        rule=_RULES[name],
        members=tuple(_member(item, place + pointer(index), depth) for index, item in enumerate(members)),
        pointer=place,
    )


def _member(value: Json, at: str, depth: int) -> Condition | Group:
    item = _object(value, at, f"{_SHAPE}, or a group")
    if "claim" in item or not _RULES.keys() & item.keys():
        return _condition(item, at)
    _only(item, set(_RULES), at)
    return _group(item, at, depth=depth + 1)


def _condition(item: dict[str, Json], at: str) -> Condition:
    claim = item.get("claim")
    if not isinstance(claim, str) or not all(claim.split(".")):
        found = json.dumps(claim)[:80] if isinstance(claim, str) else _found(item, "claim")
        _refuse(at + "/claim", "a claim's name, or names with a dot between", found, f"Write {_SHAPE}.")
    _only(item, {"claim", *_OPERATORS}, at)
    operators = [name for name in _OPERATORS if name in item]
    if len(operators) != 1:
        found = "none" if not operators else " and ".join(operators)
        _refuse(at, "one operator", found, 'Add "equals" with the value; give each further condition its own object.')
    name = operators[0]
    value, text = _scalar(item[name], at + pointer(name))
    if name == Operator.EXISTS.value and text not in ("true", "false"):
        _refuse(at + pointer(name), "true or false", json.dumps(value)[:80], "Ask for presence with true.")
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
        _refuse(at, "a text, a number, true or false", found, "Compare one claim with one value; nest for several.")
    return value, text


def _object(value: Json, at: str, expected: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        _refuse(at, expected, f"a JSON {json_type(value)}", "Write an object.")
    return value


def _list(parent: dict[str, Json], name: str, at: str) -> list[Json]:
    value = parent.get(name)
    if not isinstance(value, list) or not value:
        found = "an empty array" if value == [] else _found(parent, name)
        fix = "An empty list would release to nobody, or to everybody: write what must hold."
        _refuse(at + pointer(name), "an array of at least one", found, fix)
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
    fix = "Take it out: what the service does with it is not known."
    if name in _RULES and not at:
        fix = "Put it inside an authority: the top has anyOf alone."
    elif name == "condition":
        fix = "That is the grammar of 0.2; write the operator as the member's name."
    elif name.lower() in {other.lower() for other in known}:
        fix = "Names are case-sensitive."
    expected = "no other member than " + ", ".join(sorted(known))
    _refuse(at + pointer(name), expected, ", ".join(unknown)[:200], fix, what="release policy member")


def _refuse(where: str, expected: str, found: str, fix: str, *, what: str = "release policy") -> NoReturn:
    raise PolicyError(what=what, where=where, expected=expected, found=found, fix=fix, source=SOURCE)
