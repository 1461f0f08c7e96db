"""What faults of state work on: the vaults, VMs and releasable keys that the sandbox has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from skrkit.errors import UsageError

if TYPE_CHECKING:
    from skrkit.sandbox.store import Document
    from skrkit.sandbox.vault.documents import Keys
    from skrkit.sandbox.world import World


def vms(world: World) -> list[Document]:
    """Return every VM's resource."""
    from skrkit.sandbox.arm.call import VM_TYPE

    return _resources(world, VM_TYPE)


def vaults(world: World) -> list[Document]:
    """Return the resource of every vault that is not deleted."""
    from skrkit.sandbox.arm.call import VAULT_TYPE

    return _resources(world, VAULT_TYPE)


def _resources(world: World, kind: str) -> list[Document]:
    from skrkit.sandbox.arm.call import ARM_KIND

    return [body for _, body in world.store.list(ARM_KIND) if str(body.get("type", "")).lower() == kind.lower()]


def read(world: World, resource_id: str) -> Document | None:
    """Return a resource by its id, or None."""
    from skrkit.sandbox.arm.call import ARM_KIND

    return world.store.get(ARM_KIND, resource_id.lower())


def write(world: World, resource: Document) -> None:
    """Write a resource under its own id."""
    from skrkit.sandbox.arm.call import ARM_KIND

    world.store.put(ARM_KIND, str(resource["id"]).lower(), resource)


def holders(world: World) -> dict[str, Document]:
    """Return what holds keys, every vault and every Managed HSM, by the space that its keys are kept under."""
    from skrkit.sandbox.hsm.resource import HSM_TYPE, key_space

    found = {str(vault["name"]).lower(): vault for vault in vaults(world)}
    return found | {key_space(str(hsm["name"])): hsm for hsm in _resources(world, HSM_TYPE)}


def keys_of(world: World, vault: str) -> Keys:
    """Return the keys of a vault or Managed HSM, by their space."""
    from skrkit.sandbox.vault.documents import Keys

    return Keys(store=world.store, vault=vault.lower())


def releasable(world: World) -> Iterator[tuple[Keys, Document]]:
    """Return every key that has a release policy: its vault's or Managed HSM's keys, and its name's document."""
    from skrkit.sandbox.vault.documents import PAGE

    for space in holders(world):
        keys, after = keys_of(world, space), ""
        while page := keys.names(after, PAGE):
            yield from ((keys, named) for named in page if named["release_policy"] is not None)
            after = page[-1]["name"]


def principals(world: World) -> set[str]:
    """Return the object ids, lower case, of the identities that VMs have."""
    identities = [vm.get("identity") or {} for vm in vms(world)]
    assigned = [each for identity in identities for each in (identity.get("userAssignedIdentities") or {}).values()]
    return {str(each["principalId"]).lower() for each in (*identities, *assigned) if each.get("principalId")}


def named(resource: Document) -> str:
    """Return what a resource is called in a sentence."""
    return str(resource["name"])


def require(found: Iterable[object], wanted: str) -> None:
    """Return nothing if there is anything to break. Raises `UsageError` if what a fault needs is not there yet."""
    if not any(True for _ in found):
        raise UsageError(
            what="fault",
            where="the sandbox's resources",
            expected=wanted,
            found="none",
            fix="skrkit walkthrough   and then switch the fault on",
        )
