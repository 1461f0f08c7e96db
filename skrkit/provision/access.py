"""Step 2: the identity may release keys of this vault, and may do nothing else there.

By an access policy, which is for the whole vault; or by an Azure role at each key, where the vault goes by roles. A
Managed HSM has roles of its own (`provision.hsm`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skrkit.artefact import Artefact, Collector, Show
from skrkit.errors import UsageError
from skrkit.provision.roles import RELEASE_ACTION, RELEASE_ROLE, assign, unassign
from skrkit.services.azure_errors import azure_call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from skrkit.cloud import Cloud
    from skrkit.provision.stage import Stage
    from skrkit.services.roles import HeldRole
    from skrkit.wire import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What the identity may do with the vault's keys after the grant, and whether that is enough and no more.

    `permissions` are key permissions of an access policy, `roles` the Azure roles that it holds at the key, or in a
    Managed HSM the local ones; one of the two is empty, by the vault's mode.
    """

    permissions: tuple[str, ...]
    may_release: bool
    artefacts: tuple[Artefact, ...]
    roles: tuple[HeldRole, ...] = ()


def grant(cloud: Cloud, stage: Stage, object_id: str, *, show: Show | None = None) -> Access:
    """Return the access of `object_id` after it was allowed to release. The caller is the operator.

    The vault's mode decides how. `accessPolicies/add` merges: existing grants stay. A vault that uses Azure roles
    ignores access policies: there the identity gets the role at each of the stage's keys, which needs not be there yet.
    Raises `UsageError` for a vault without HSM keys, or one that does not go by roles where the stage wants them;
    `ServiceError` when Resource Manager refuses.
    """
    from skrkit.services import arm

    if stage.hsm:
        from skrkit.provision import hsm

        return hsm.grant(cloud, stage, object_id, show=show)
    made = Collector(2, show)
    with azure_call(f"access to vault {stage.vault}"), arm.key_vaults(cloud) as client:
        before = client.vaults.get(stage.resource_group, stage.vault).as_dict()
        check_premium(before)
        roles = uses_roles(before)
        check_mode(before, stage)
        known = key_permissions(before, object_id)
        grants = "has a grant already." if known else "appears in no access policy."
        made.add(
            "vault-before",
            "The vault before the grant",
            before,
            proves="Premium, so its keys live in an HSM; "
            + ("it goes by Azure roles, not access policies." if roles else f"the VM's identity {grants}"),
            next="Whether it uses access policies or roles decides how to grant.",
        )
        after = before if roles else _granted(client, stage, before, object_id, made)
    held = _assigned(cloud, stage, object_id, made) if roles else ()
    access = preflight(after, object_id, held)
    made.add(
        "preflight",
        "May this identity release a key of this vault?",
        access,
        proves="The grant covers `release`; whatever else it covers is listed, and should be nothing.",
        next="Step 4 still needs a policy that says yes to the VM's attestation.",
    )
    return Access(
        permissions=() if roles else key_permissions(after, object_id),
        may_release=access["may_release"] is True,
        artefacts=tuple(made.made),
        roles=held,
    )


def revoke(cloud: Cloud, stage: Stage, object_id: str) -> list[str]:
    """Return what was taken away again: the role at the stage's keys, or `release` in the vault's access policies.

    What the identity was given otherwise stays. Raises `ServiceError` when Resource Manager refuses.
    """
    from azure.mgmt.keyvault.models import AccessPolicyUpdateKind, VaultAccessPolicyParameters

    from skrkit.services import arm

    if stage.hsm:
        from skrkit.provision import hsm

        return hsm.revoke(cloud, stage, object_id)
    with azure_call(f"access to vault {stage.vault}"), arm.key_vaults(cloud) as client:
        vault = client.vaults.get(stage.resource_group, stage.vault).as_dict()
        if not uses_roles(vault):
            if "release" not in key_permissions(vault, object_id):
                return []
            body = _policy_body(vault, object_id)
            client.vaults.update_access_policy(
                stage.resource_group, stage.vault, AccessPolicyUpdateKind.REMOVE, VaultAccessPolicyParameters(body)
            )
            return [f"release for {object_id} in the access policies of {stage.vault}"]
    return unassign(cloud, RELEASE_ROLE, stage.key_ids(cloud), object_id)


def _assigned(cloud: Cloud, stage: Stage, object_id: str, made: Collector) -> tuple[HeldRole, ...]:
    """Return the roles that the identity holds at the stage's key, after the release role was assigned at each key."""
    from skrkit.services.reader import Reader
    from skrkit.services.roles import list_held

    scopes = stage.key_ids(cloud)
    assignments: list[Json] = list(assign(cloud, RELEASE_ROLE, scopes, object_id))
    made.add(
        "role-assignments",
        "The role assignments",
        {"assignments": assignments},
        proves=f"{RELEASE_ROLE} has one data action, {RELEASE_ACTION}: not read, not list, not decrypt.",
        next="It can take ten minutes until Key Vault has seen them.",
    )
    with Reader(cloud) as reader:
        return list_held(reader, scopes[0], object_id)


def _granted(client: Any, stage: Stage, before: dict[str, Any], object_id: str, made: Collector) -> dict[str, Any]:
    """Return the vault after `release` was added to the identity's key permissions."""
    from azure.mgmt.keyvault.models import AccessPolicyUpdateKind, VaultAccessPolicyParameters

    body = _policy_body(before, object_id)
    client.vaults.update_access_policy(
        stage.resource_group, stage.vault, AccessPolicyUpdateKind.ADD, VaultAccessPolicyParameters(body)
    )
    after: dict[str, Any] = client.vaults.get(stage.resource_group, stage.vault).as_dict()
    made.add(
        "grant",
        "The grant",
        body,
        proves="One permission, `release`: not get, not list, not decrypt.",
        next="It can take a minute until Key Vault has seen it.",
    )
    made.add(
        "vault-after",
        "The vault after the grant",
        after,
        proves="The vault's own record now names the VM's identity.",
        next="Key Vault reads this record at every request.",
    )
    return after


def _policy_body(vault: dict[str, Any], object_id: str) -> dict[str, Json]:
    tenant = vault.get("properties", {}).get("tenantId")  # the vault's: no other is taken
    policy: Json = {"tenantId": tenant, "objectId": object_id, "permissions": {"keys": ["release"]}}
    return {"properties": {"accessPolicies": [policy]}}


def check_mode(vault: dict[str, Any], stage: Stage) -> None:
    """Return nothing if the vault goes by roles, or the stage does not ask for that. Raises `UsageError`."""
    if stage.rbac and not uses_roles(vault):
        raise UsageError(
            what=f"vault {stage.vault}",
            where="/properties/enableRbacAuthorization",
            expected="true: a vault that goes by Azure roles",
            found=str(vault.get("properties", {}).get("enableRbacAuthorization")).lower(),
            fix=f"az keyvault update --name {stage.vault} --enable-rbac-authorization true   (its access policies then "
            "count for nothing), or leave --rbac out",
        )


def check_premium(vault: dict[str, Any]) -> None:
    """Return nothing if a vault resource can hold HSM keys, which alone can be released. Raises `UsageError`."""
    found = str((vault.get("properties", {}).get("sku") or {}).get("name") or "")
    if found.lower() != "premium":
        raise UsageError(
            what=f"vault {vault.get('name', '')}",
            where="/properties/sku/name",
            expected="premium",
            found=found or "nothing",
            fix=f"az keyvault update --name {vault.get('name', 'VAULT')} --sku premium   or name another vault",
        )


def preflight(vault: dict[str, Any], object_id: str, roles: Sequence[HeldRole] | None = None) -> dict[str, Json]:
    """Return what a vault resource says of one identity's key permissions: enough for a release, or more.

    `vault` is the ARM resource. `roles` are those that the identity holds at the key, None where they were not read:
    then nothing is known of a vault that goes by them.
    """
    if not uses_roles(vault):
        permissions = key_permissions(vault, object_id)
        beyond: list[Json] = [name for name in permissions if name != "release"]
        return {
            "mode": "access policies",
            "object_id": object_id,
            "may_release": "release" in permissions,
            "beyond_release": beyond,
        }
    if roles is None:
        return {
            "mode": "roles",
            "object_id": object_id,
            "may_release": None,
            "not_checked": f"This vault uses Azure roles, which were not read. Needed: {RELEASE_ROLE}.",
        }
    return {
        "mode": "roles",
        "object_id": object_id,
        "may_release": any(role.allows(RELEASE_ACTION, data=True) for role in roles),
        "roles": [role.to_json() for role in roles],
        "beyond_release": list(beyond_release(roles)),
    }


def beyond_release(roles: Sequence[HeldRole]) -> tuple[str, ...]:
    """Return the data actions, patterns as they stand in the roles, that go beyond a release; sorted."""
    patterns = {pattern for role in roles for each in role.permissions for pattern in each.data_actions}
    return tuple(sorted(pattern for pattern in patterns if pattern.lower() != RELEASE_ACTION.lower()))


def uses_roles(vault: Mapping[str, Any]) -> bool:
    """Return whether a vault resource goes by Azure roles, and ignores its access policies."""
    return (vault.get("properties") or {}).get("enableRbacAuthorization") is True


def key_permissions(vault: Mapping[str, Any], object_id: str) -> tuple[str, ...]:
    """Return the key permissions that a vault's access policies give an object id, lower case, sorted."""
    policies = vault.get("properties", {}).get("accessPolicies") or []
    granted = {
        str(permission).lower()
        for policy in policies
        if str(policy.get("objectId", "")).lower() == object_id.lower()
        and not policy.get("applicationId")  # such an entry is for a user through an application
        for permission in policy.get("permissions", {}).get("keys") or []
    }
    return tuple(sorted(granted))
