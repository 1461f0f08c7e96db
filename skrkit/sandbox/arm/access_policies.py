"""Access policies of a vault: their shape, and `accessPolicies/{add | replace | remove}`."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from skrkit.sandbox.arm.call import VAULT_TYPE, Call
from skrkit.sandbox.arm.errors import bad_request
from skrkit.sandbox.web import AzureError

KEY_PERMISSIONS = frozenset((
    "all", "encrypt", "decrypt", "wrapkey", "unwrapkey", "sign", "verify", "get", "list", "create", "update", "import",
    "delete", "backup", "restore", "recover", "purge", "release", "rotate", "getrotationpolicy", "setrotationpolicy",
))  # fmt: skip
_KINDS = ("keys", "secrets", "certificates", "storage")

Policy = dict[str, Any]


def checked_policies(given: Any, tenant: str) -> list[Policy]:
    """Return access policies in Azure's shape. Raises `AzureError` 400 for an id or a permission that is not one."""
    if not isinstance(given, list) or not all(isinstance(policy, dict) for policy in given):
        raise bad_request("The parameter accessPolicies is invalid: expected an array of objects.")
    return [_checked(policy, tenant) for policy in given]


def _checked(policy: Policy, tenant: str) -> Policy:
    if str(policy.get("tenantId", "")).lower() != tenant:
        raise bad_request(
            f"The parameter tenantId of an access policy is invalid: expected '{tenant}', "
            f"found '{policy.get('tenantId')}'."
        )
    object_id = policy.get("objectId")
    if not isinstance(object_id, str) or not object_id:
        raise bad_request("The parameter objectId of an access policy is not specified.")
    permissions = policy.get("permissions")
    if not isinstance(permissions, dict):
        raise bad_request("The parameter permissions of an access policy is not specified.")
    for kind in _KINDS:
        if permissions.get(kind) is not None and not isinstance(permissions[kind], list):
            raise bad_request(f"The permissions '{kind}' of an access policy must be an array.")
    keys = permissions.get("keys") or []
    unknown = [name for name in keys if str(name).lower() not in KEY_PERMISSIONS]
    if unknown:
        raise bad_request(f"The key permission '{unknown[0]}' is not one that a vault knows.")
    checked: Policy = {"tenantId": tenant, "objectId": object_id}
    if policy.get("applicationId"):
        checked["applicationId"] = policy["applicationId"]
    checked["permissions"] = {
        kind: [str(name) for name in permissions[kind]] for kind in _KINDS if permissions.get(kind) is not None
    }
    return checked


def put_access_policies(call: Call) -> Response:
    """Return the change as an `accessPolicies` resource: `add` merges, `replace` sets, `remove` takes away.

    `replace` sets the permissions of the object ids it names and leaves others alone (inferred).
    """
    kind = call.path["kind"].lower()
    if kind not in ("add", "replace", "remove"):
        raise AzureError(404, "ResourceNotFound", f"accessPolicies/{call.path['kind']} is not add, replace or remove.")
    with call.lock:
        vault = call.require(VAULT_TYPE, call.path["vault"])
        properties = call.object_of("properties")
        given = checked_policies(properties.get("accessPolicies") or [], call.world.tenant)
        policies = list(vault["properties"]["accessPolicies"])
        for policy in given:
            policies = _with(policies, policy, kind)
        vault["properties"]["accessPolicies"] = policies
        call.write(vault)
    answer = {
        "id": f"{vault['id']}/accessPolicies/",
        "type": "Microsoft.KeyVault/vaults/accessPolicies",
        "location": vault["location"],
        "properties": {"accessPolicies": policies},
    }
    return JSONResponse(answer)


def _identity(policy: Policy) -> tuple[str, str]:
    return str(policy["objectId"]).lower(), str(policy.get("applicationId", "")).lower()


def _with(policies: list[Policy], change: Policy, kind: str) -> list[Policy]:
    before = next((policy for policy in policies if _identity(policy) == _identity(change)), None)
    others = [policy for policy in policies if policy is not before]
    if kind == "replace" or (before is None and kind == "add"):
        return [*others, change]
    if before is None:
        return policies
    merged = _merged(before["permissions"], change["permissions"], add=kind == "add")
    if not any(merged.values()):
        return others  # a policy that allows nothing is dropped
    return [*others, before | {"permissions": merged}]


def _merged(before: dict[str, list[str]], change: dict[str, list[str]], *, add: bool) -> dict[str, list[str]]:
    merged: dict[str, list[str]] = {}
    for kind in dict.fromkeys((*before, *change)):
        had, named = before.get(kind, []), {name.lower() for name in change.get(kind, [])}
        kept = [name for name in had if add or name.lower() not in named]
        known = {name.lower() for name in had}
        merged[kind] = kept + [name for name in change.get(kind, []) if add and name.lower() not in known]
    return merged
