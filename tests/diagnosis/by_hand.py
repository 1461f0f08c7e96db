"""The states of the sandbox's faults, made by hand: by requests to Resource Manager and the vault, as people make them.

`STATES` has one row a fault of state, but policy.debug's, which is half a report of the hardware. No fault is on
afterwards, so there is none that could be switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from skrkit.sandbox.faults import client
from skrkit.sandbox.faults.table import faults_of
from tests.diagnosis.az import COMPUTE_API, VAULT_API, Desk
from tests.diagnosis.sandboxed import STAGE
from tests.sandbox.running import vm_url

IDENTITY_API = "2023-01-31"
KEY = f"/keys/{STAGE.key}"
OPEN = {"enableRbacAuthorization": False, "publicNetworkAccess": "Enabled", "networkAcls": {"defaultAction": "Allow"}}


def put_right(desk: Desk) -> None:
    """Take back what a command leaves as it is: identities and their grants, the vault's openness, the key's policy.

    What steps 1 to 3 make again is theirs to make.
    """
    if _identity(desk).get("type") != "SystemAssigned":
        _set_identity(desk, {"type": "SystemAssigned"})
    _set_vault(desk, **OPEN, accessPolicies=[each for each in _grants(desk) if each["objectId"] == desk.operator])
    exportable = {
        key["kid"].rpartition("/")[2]: key["attributes"].get("exportable", False)
        for key in desk.vault("GET", STAGE.vault, "/keys")["value"]
    }
    if exportable.get(STAGE.key):
        desk.az(f"az keyvault key set-attributes --vault-name {STAGE.vault} --name {STAGE.key} --policy policy.json")
    elif STAGE.key in exportable:
        _purge_key(desk)


def _identity(desk: Desk) -> dict[str, Any]:
    return dict(desk.arm("GET", vm_url(desk.endpoint, STAGE.vm), COMPUTE_API).get("identity") or {})


def _set_identity(desk: Desk, identity: dict[str, Any]) -> None:
    desk.arm("PATCH", vm_url(desk.endpoint, STAGE.vm), COMPUTE_API, {"identity": identity})


def _no_identity(desk: Desk) -> None:
    _set_identity(desk, {"type": "None"})


def _several_identities(desk: Desk) -> None:
    group = f"{desk.group({})}/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
    made = [
        desk.arm("PUT", f"{group}/{name}", IDENTITY_API, {"location": STAGE.location})["id"]
        for name in ("by-hand-1", "by-hand-2")
    ]
    _set_identity(desk, {"type": "UserAssigned", "userAssignedIdentities": {each: {} for each in made}})


def _identity_made_anew(desk: Desk) -> None:
    _no_identity(desk)
    _set_identity(desk, {"type": "SystemAssigned"})


def _set_vault(desk: Desk, **properties: Any) -> None:
    desk.arm("PATCH", desk.vault_url({"name": (STAGE.vault,)}), VAULT_API, {"properties": properties})


def _grants(desk: Desk) -> list[dict[str, Any]]:
    vault = desk.arm("GET", desk.vault_url({"name": (STAGE.vault,)}), VAULT_API)
    return list(vault["properties"]["accessPolicies"])


def _less(desk: Desk, object_id: str, permission: str) -> None:
    """Take a key permission from who has it; an entry that allows nothing any more goes."""
    policies = _grants(desk)
    for policy in policies:
        if policy["objectId"].lower() == object_id.lower():
            policy["permissions"]["keys"] = [
                name for name in policy["permissions"]["keys"] if name.lower() != permission
            ]
    kept = [policy for policy in policies if any(policy["permissions"].values())]
    _set_vault(desk, accessPolicies=kept)


def _delete_key(desk: Desk) -> None:
    desk.vault("DELETE", STAGE.vault, KEY)


def _purge_key(desk: Desk) -> None:
    _delete_key(desk)
    desk.vault("DELETE", STAGE.vault, f"/deletedkeys/{STAGE.key}")


def _key_that_stays(desk: Desk) -> None:
    _purge_key(desk)
    desk.vault("POST", STAGE.vault, f"{KEY}/create", {"kty": "RSA-HSM", "key_size": 2048})


def _policy_of(name: str) -> Callable[[Desk], None]:
    """Return what gives the key, by a request, the policy that a fault of this name gives it."""

    def make(desk: Desk) -> None:
        home = desk.endpoint.home
        client.switch_on(name, home=home)
        policy = desk.vault("GET", STAGE.vault, KEY)["release_policy"]
        client.switch_off(name, home=home)
        desk.vault("PATCH", STAGE.vault, KEY, {"release_policy": {"data": policy["data"]}})

    return make


STATES: Mapping[str, Callable[[Desk], None]] = MappingProxyType(
    {
        "identity.none": _no_identity,
        "identity.several": _several_identities,
        "access.release-missing": lambda desk: _less(desk, _identity(desk)["principalId"], "release"),
        "access.get-missing": lambda desk: _less(desk, desk.operator, "get"),
        "access.stale-object-id": _identity_made_anew,
        "access.rbac-mode": lambda desk: _set_vault(desk, enableRbacAuthorization=True),
        "access.firewall-address": lambda desk: _set_vault(desk, networkAcls={"defaultAction": "Deny"}),
        "access.private-only": lambda desk: _set_vault(desk, publicNetworkAccess="Disabled"),
        "key.disabled": lambda desk: desk.vault("PATCH", STAGE.vault, KEY, {"attributes": {"enabled": False}}),
        "key.not-exportable": _key_that_stays,
        "key.not-found": _purge_key,
        "key.deleted": _delete_key,
        **{fault.name: _policy_of(fault.name) for fault in faults_of("policy") if fault.name != "policy.debug"},
    }
)
