"""Faults of access: the grant, the vault's authorisation, its firewall."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from skrkit.sandbox.faults import assignments, resources
from skrkit.sandbox.faults.fault import Fault, Undone
from skrkit.sandbox.faults.identity import give_back

if TYPE_CHECKING:
    from skrkit.sandbox.entra import Principal
    from skrkit.sandbox.store import Document
    from skrkit.sandbox.world import World

DENY_ALL = {"bypass": "AzureServices", "defaultAction": "Deny", "ipRules": [], "virtualNetworkRules": []}


def not_yet(world: World, caller: Principal, permission: str) -> bool:
    """Return whether a grant to a VM's identity has not reached the vault yet."""
    return permission == "release" and bool(caller.mirid) and world.faulty("access.not-propagated")


# --- a permission taken away


def _release_missing(world: World) -> dict[str, Any]:
    identities = resources.principals(world)
    roles = assignments.take(world, identities)
    return _revoke(world, "release", identities, "" if roles else "a VM's identity that may release") | {"roles": roles}


def _get_missing(world: World) -> dict[str, Any]:
    return _revoke(world, "get", {world.setting("operator_oid")}, "a vault whose operator may read keys")


def _revoke(world: World, permission: str, object_ids: set[str], wanted: str) -> dict[str, Any]:
    """Take a key permission from these identities in every vault, and return from whom, and what they had.

    Somebody must have had it, unless nothing is `wanted`.
    """
    taken: list[Document] = []
    for vault in resources.vaults(world):
        kept: list[Document] = []
        for place, policy in enumerate(_policies(vault)):
            less = policy
            if str(policy["objectId"]).lower() in object_ids and _allows(policy, permission):
                keys = [name for name in policy["permissions"]["keys"] if str(name).lower() != permission]
                less = policy | {"permissions": policy["permissions"] | {"keys": keys}}
                had = {"place": place, "before": policy, "after": less}
                taken.append({"vault": vault["id"], "name": vault["name"]} | had)
            if any(less["permissions"].values()):  # Resource Manager keeps no policy that allows nothing
                kept.append(less)
        vault["properties"]["accessPolicies"] = kept
        resources.write(world, vault)
    if wanted:
        resources.require(taken, wanted)
    return {"permission": permission, "taken": taken}


def _granted_again(world: World, before: dict[str, Any]) -> Undone:
    permission = before["permission"]
    put_back, left = [], []
    for had in before["taken"]:
        object_id = had["before"]["objectId"]
        who = f"{permission} for {object_id} in {had['name']}"
        vault = resources.read(world, had["vault"])
        if vault is None:
            left.append(f"{had['name']} (gone)")
        elif _may(vault, object_id, permission):
            left.append(f"{who} (was granted again)")
        else:
            _give(_policies(vault), had, permission)
            resources.write(world, vault)
            put_back.append(who)
    roles = assignments.put_back(world, before.get("roles", ()))
    return Undone(put_back=(*put_back, *roles.put_back), left=(*left, *roles.left))


def _give(policies: list[Document], had: Document, permission: str) -> None:
    """Put an access policy back as it was, or where somebody changed it since, add the permission to it."""
    object_id = str(had["before"]["objectId"]).lower()
    for place, policy in enumerate(policies):
        if policy == had["after"]:
            policies[place] = had["before"]
            return
        if str(policy["objectId"]).lower() == object_id:
            policy["permissions"]["keys"] = [*(policy["permissions"].get("keys") or []), permission]
            return
    policies.insert(had["place"], had["before"])


def _policies(vault: Document) -> list[Document]:
    policies: list[Document] = vault["properties"]["accessPolicies"]
    return policies


def _allows(policy: Document, permission: str) -> bool:
    return permission in {str(name).lower() for name in policy["permissions"].get("keys") or []}


def _may(vault: Document, object_id: str, permission: str) -> bool:
    return any(
        _allows(policy, permission)
        for policy in _policies(vault)
        if str(policy["objectId"]).lower() == object_id.lower()
    )


# --- an identity made anew


def _stale_object_id(world: World) -> dict[str, Any]:
    granted = {
        str(policy["objectId"]).lower()
        for vault in resources.vaults(world)
        for policy in _policies(vault)
        if _may(vault, str(policy["objectId"]), "release")
    }
    machines = [
        vm
        for vm in resources.vms(world)
        if _principal_of(vm) and (_principal_of(vm) in granted or assignments.releasing(world, _principal_of(vm)))
    ]
    resources.require(machines, "a VM whose identity may release")
    return {"vms": [_made_anew(world, vm) for vm in machines]}


def _principal_of(vm: Document) -> str:
    return str((vm.get("identity") or {}).get("principalId") or "").lower()


def _made_anew(world: World, vm: Document) -> Document:
    """Give a VM's identity a new object id, as when it was switched off and on again, and return what it had."""
    from skrkit.sandbox import chance
    from skrkit.sandbox.arm.identity import PRINCIPAL_KIND

    before = {"id": vm["id"], "name": vm["name"], "identity": dict(vm["identity"])}
    principal = world.store.get(PRINCIPAL_KIND, str(vm["identity"]["principalId"])) or {}
    fresh = principal | {"oid": chance.uuid4("fault/oid"), "appid": chance.uuid4("fault/appid")}
    world.store.delete(PRINCIPAL_KIND, str(vm["identity"]["principalId"]))
    world.store.put(PRINCIPAL_KIND, fresh["oid"], fresh)
    vm["identity"] = vm["identity"] | {"principalId": fresh["oid"]}
    resources.write(world, vm)
    return before | {"principal": principal, "made": fresh["oid"]}


def _object_id_back(world: World, before: dict[str, Any]) -> Undone:
    from skrkit.sandbox.arm.identity import PRINCIPAL_KIND

    put_back, left = [], []
    for had in before["vms"]:
        vm = resources.read(world, had["id"])
        if vm is None or _principal_of(vm) != had["made"]:
            left.append(f"{had['name']} ({'gone' if vm is None else 'its identity was changed since'})")
        elif _was_granted(world, had["made"]):
            left.append(f"{had['name']} (its new object id was granted access)")
        else:
            world.store.delete(PRINCIPAL_KIND, had["made"])
            give_back(world, had)
            put_back.append(f"the object id of {had['name']}")
    return Undone(put_back=tuple(put_back), left=tuple(left))


def _was_granted(world: World, object_id: str) -> bool:
    by_policy = any(_may(vault, object_id, "release") for vault in resources.vaults(world))
    return by_policy or bool(assignments.releasing(world, object_id))


# --- a property of the vault


def _with_property(
    name: str, value: object, *, unless: Callable[[Document], bool]
) -> Callable[[World], dict[str, Any]]:
    """Return an `apply` that sets a property of every vault that is not so already."""

    def apply(world: World) -> dict[str, Any]:
        changed = [vault for vault in resources.vaults(world) if not unless(vault["properties"])]
        resources.require(changed, "a vault that lets clients in")
        before = [{"id": each["id"], "name": each["name"], "value": each["properties"].get(name)} for each in changed]
        for vault in changed:
            vault["properties"][name] = value
            resources.write(world, vault)
        return {"vaults": before}

    return apply


def _property_back(name: str, value: object) -> Callable[[World, dict[str, Any]], Undone]:
    """Return the `undo` of it: the property as it was, where it is still as the fault set it."""

    def undo(world: World, before: dict[str, Any]) -> Undone:
        put_back, left = [], []
        for had in before["vaults"]:
            vault = resources.read(world, had["id"])
            if vault is None or vault["properties"].get(name) != value:
                left.append(f"{had['name']} ({'gone' if vault is None else f'its {name} was changed since'})")
                continue
            del vault["properties"][name]
            if had["value"] is not None:
                vault["properties"][name] = had["value"]
            resources.write(world, vault)
            put_back.append(f"{name} of {had['name']}")
        return Undone(put_back=tuple(put_back), left=tuple(left))

    return undo


def _uses_roles(properties: Document) -> bool:
    return properties.get("enableRbacAuthorization") is True


def _is_private(properties: Document) -> bool:
    return str(properties.get("publicNetworkAccess")).lower() == "disabled"


def _is_shut(properties: Document) -> bool:
    return properties.get("networkAcls") == DENY_ALL


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="access.release-missing",
        group="access",
        title="The VM's identity may not release",
        does="Takes key permission `release`, and each role that covers it, from the identity of every VM.",
        apply=_release_missing,
        undo=_granted_again,
    ),
    Fault(
        name="access.get-missing",
        group="access",
        title="Who reads the key first may not read it",
        does="Takes key permission `get` from the operator, who reads the key before and after a release.",
        step=3,
        apply=_get_missing,
        undo=_granted_again,
    ),
    Fault(
        name="access.stale-object-id",
        group="access",
        title="Access was granted to the identity that the VM had before",
        does="Gives every VM's identity a new object id, as when it was switched off and on; grants name the old one.",
        apply=_stale_object_id,
        undo=_object_id_back,
    ),
    Fault(
        name="access.not-propagated",
        group="access",
        title="The grant has not reached the vault yet",
        does="Vaults refuse the release of a VM's identity that Resource Manager shows as granted, until the fault is "
        "switched off; in Azure it takes minutes.",
    ),
    Fault(
        name="access.rbac-mode",
        group="access",
        title="The vault goes by Azure roles, and ignores its access policies",
        does="Sets enableRbacAuthorization of every vault; its access policies stay and count for nothing.",
        step=3,
        apply=_with_property("enableRbacAuthorization", True, unless=_uses_roles),
        undo=_property_back("enableRbacAuthorization", True),
    ),
    Fault(
        name="access.firewall-address",
        group="access",
        title="The vault's firewall does not let this address in",
        does="Sets networkAcls of every vault to deny every address.",
        step=3,
        apply=_with_property("networkAcls", DENY_ALL, unless=_is_shut),
        undo=_property_back("networkAcls", DENY_ALL),
    ),
    Fault(
        name="access.private-only",
        group="access",
        title="The vault takes private connections alone",
        does="Sets publicNetworkAccess of every vault to Disabled.",
        step=3,
        apply=_with_property("publicNetworkAccess", "Disabled", unless=_is_private),
        undo=_property_back("publicNetworkAccess", "Disabled"),
    ),
)
