"""Release policies as a vault takes them in: the rules between `exportable` and policy, and the rewriting of `data`."""

from __future__ import annotations

import json
from typing import Any

from skrkit.encoding import b64url, b64url_bytes
from skrkit.errors import ParseError, PolicyError
from skrkit.sandbox.vault import errors
from skrkit.sandbox.vault.call import EXPORTABLE_FROM, Call, at_least

CONTENT_TYPE = "application/json; charset=utf-8"

Policy = dict[str, Any]


def given_policy(body: dict[str, Any]) -> Policy | None:
    """Return the `release_policy` member, or None. Without `data` it counts as absent, as in Azure.

    (The Python SDK drops a policy that it was given as `str` and sends an empty one.) Raises 400 for other types than
    the specification has.
    """
    policy = body.get("release_policy")
    if policy is not None and not isinstance(policy, dict):
        raise errors.bad_parameter('The property "release_policy" must be an object.')
    if not policy or not policy.get("data"):
        return None
    if not isinstance(policy.get("immutable"), bool | None):  # who writes "true" must not get what can be changed
        raise errors.bad_parameter('The property "immutable" must be true or false.')
    if not isinstance(policy.get("contentType"), str | None):
        raise errors.bad_parameter('The property "contentType" must be a string.')
    return policy


def check_exportable(call: Call, *, exportable: bool, hsm: bool, policy: Policy | None) -> None:
    """Raise the `AKV.SKR` 400 of a new key whose `exportable`, type and policy do not fit each other.

    Which of several broken rules is named first is not known; this is the order of their numbers (inferred).
    """
    if exportable:
        if not call.vault.premium or not at_least(call.api_version, EXPORTABLE_FROM):
            raise errors.skr(1001)
        if policy is None:
            raise errors.skr(1004)
        if not hsm:
            raise errors.skr(1006)
    elif policy is not None and _parsed(policy) is not None:
        raise errors.skr(1005)  # a malformed policy without exportable is dropped in silence, as one user reported


def stored_policy(given: Policy, *, in_hsm: bool = False) -> Policy:
    """Return a policy as the vault keeps it: rewritten `data`, `contentType`, `immutable`. Raises 400 AKV.SKR.1013.

    A Managed HSM (`in_hsm`) sorts the members by name, leaves booleans as they are, and asks for a `version`.
    """
    document = _parsed(given)
    if document is None:
        if in_hsm and _lacks_version(given):
            raise errors.bad_parameter("Key Release Policy: missing 'version' property")
        raise errors.skr(1013)
    rewritten = document if in_hsm else _texts(document)
    text = json.dumps(rewritten, separators=(",", ":"), ensure_ascii=False, sort_keys=in_hsm)
    return {
        "contentType": given.get("contentType") or CONTENT_TYPE,
        "data": b64url(text.encode()),
        "immutable": given.get("immutable") is True,
    }


def changed_policy(before: Policy | None, given: Policy, *, in_hsm: bool = False) -> Policy:
    """Return what an update makes of a key's policy. Raises 400 for a key without one, and for an immutable one."""
    if before is None:
        raise errors.skr(1005)
    if before["immutable"]:
        raise errors.skr(1020)
    return stored_policy(given, in_hsm=in_hsm)


def _parsed(given: Policy) -> dict[str, Any] | None:
    """Return the policy's document, members in the order that a vault writes; None if it is malformed."""
    from skrkit.policy.parse import parse_policy

    data = given["data"]
    try:
        if not isinstance(data, str):
            return None
        raw = b64url_bytes(data, what="release policy data", where="/release_policy/data")
        return parse_policy(raw).fields()
    except (ParseError, PolicyError):
        return None


def _lacks_version(given: Policy) -> bool:
    """Return whether a policy is JSON whose only known fault may be that it has no `version`."""
    try:
        raw = b64url_bytes(str(given["data"]), what="release policy data", where="/release_policy/data")
        document = json.loads(raw)
    except (ParseError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and "version" not in document


def _texts(value: Any) -> Any:
    """Return the value with booleans as the texts "true" and "false": what a vault does, and a Managed HSM does not."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return {name: _texts(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_texts(member) for member in value]
    return value
