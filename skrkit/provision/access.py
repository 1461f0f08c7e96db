"""Step 2: the identity may release keys of this vault, and may do nothing else there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skrkit.artefact import Artefact, Collector, Show
from skrkit.services.azure_errors import azure_call

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.provision.stage import Stage
    from skrkit.wire import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What the identity may do with the vault's keys after the grant, and whether that is enough and no more."""

    permissions: tuple[str, ...]
    may_release: bool
    artefacts: tuple[Artefact, ...]


def grant(cloud: Cloud, stage: Stage, object_id: str, *, show: Show | None = None) -> Access:
    """Return the access of `object_id` after key permission `release` was added. The caller is the operator.

    `accessPolicies/add` merges: existing grants stay. Raises `ServiceError` when Resource Manager refuses.
    """
    from azure.mgmt.keyvault.models import AccessPolicyUpdateKind, VaultAccessPolicyParameters

    from skrkit.services import arm

    made = Collector(2, show)
    policy: Json = {"tenantId": cloud.tenant, "objectId": object_id, "permissions": {"keys": ["release"]}}
    body: dict[str, Json] = {"properties": {"accessPolicies": [policy]}}
    with azure_call(f"access to vault {stage.vault}"), arm.key_vaults(cloud) as client:
        before = client.vaults.get(stage.resource_group, stage.vault).as_dict()
        known = _permissions(before, object_id)
        made.add(
            "vault-before",
            "The vault before the grant",
            before,
            proves="Premium, so its keys live in an HSM; "
            + ("the VM's identity has a grant already." if known else "the VM's identity appears in no access policy."),
            next="Whether it uses access policies or roles decides how to grant.",
        )
        client.vaults.update_access_policy(
            stage.resource_group,
            stage.vault,
            AccessPolicyUpdateKind.ADD,
            VaultAccessPolicyParameters(body),
        )
        after = client.vaults.get(stage.resource_group, stage.vault).as_dict()
    made.add(
        "grant",
        "The grant",
        body,
        proves="One permission, `release`: not get, not list, not decrypt.",
        next="It takes effect at once for access policies; roles can take minutes.",
    )
    made.add(
        "vault-after",
        "The vault after the grant",
        after,
        proves="The vault's own record now names the VM's identity.",
        next="Key Vault reads this record at every request.",
    )
    access = preflight(after, object_id)
    made.add(
        "preflight",
        "May this identity release a key of this vault?",
        access,
        proves="The grant covers `release`; whatever else it covers is listed, and should be nothing.",
        next="Step 4 still needs a policy that says yes to the VM's attestation.",
    )
    permissions = _permissions(after, object_id)
    return Access(permissions=permissions, may_release="release" in permissions, artefacts=tuple(made.made))


def preflight(vault: dict[str, Any], object_id: str) -> dict[str, Json]:
    """Return what a vault resource says of one identity's key permissions: enough for a release, or more.

    `vault` is the ARM resource. Says "roles" when the vault ignores access policies, which this does not read.
    """
    properties = vault.get("properties", {})
    if properties.get("enableRbacAuthorization"):
        return {
            "mode": "roles",
            "may_release": None,
            "not_checked": "This vault uses Azure roles: access policies are ignored. Needed: Key Vault Crypto "
            "Service Release User.",
        }
    permissions = _permissions(vault, object_id)
    beyond: list[Json] = [name for name in permissions if name != "release"]
    return {
        "mode": "access policies",
        "object_id": object_id,
        "may_release": "release" in permissions,
        "beyond_release": beyond,
    }


def _permissions(vault: dict[str, Any], object_id: str) -> tuple[str, ...]:
    policies = vault.get("properties", {}).get("accessPolicies", [])
    granted = {
        str(permission).lower()
        for policy in policies
        if str(policy.get("objectId", "")).lower() == object_id.lower()
        for permission in policy.get("permissions", {}).get("keys", [])
    }
    return tuple(sorted(granted))
