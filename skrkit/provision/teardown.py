"""Teardown: what skrkit made is found by its tag, removed in the order that Azure asks for, and what stays is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from skrkit.provision.stage import USER_ASSIGNED
from skrkit.provision.tags import is_ours
from skrkit.services.azure_errors import azure_call

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.wire import Json

VM, VAULT, HSM = "Microsoft.Compute/virtualMachines", "Microsoft.KeyVault/vaults", "Microsoft.KeyVault/managedHSMs"
KEY, GROUP = "key", "Microsoft.Resources/resourceGroups"
# In the order of removal: nothing that is still used. With the api-version that its deletion is asked with.
REMOVABLE = {
    VM: "2024-11-01",
    "Microsoft.Compute/disks": "2024-03-02",
    "Microsoft.Network/networkInterfaces": "2024-05-01",
    "Microsoft.Network/publicIPAddresses": "2024-05-01",
    "Microsoft.Network/virtualNetworks": "2024-05-01",
    "Microsoft.Network/networkSecurityGroups": "2024-05-01",
    USER_ASSIGNED: "2024-11-30",
    VAULT: "2024-11-01",
    HSM: "2024-11-01",
}
_ORDER = {kind.lower(): number for number, kind in enumerate(REMOVABLE)}
_KINDS = {kind.lower(): kind for kind in REMOVABLE}
SOFT = {VAULT.lower(), HSM.lower()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One thing with skrkit's tag. `type` is Azure's, or "key"; `url` is of the vault or HSM that a key is in.

    `deleted` says that it is deleted already, and can be purged or waits for `purge_date` (RFC 3339): `protected`
    then says that nobody can purge it before.
    """

    type: str
    name: str
    resource_id: str
    location: str = ""
    url: str = ""
    deleted: bool = False
    purge_date: str = ""
    protected: bool = False

    def to_json(self) -> dict[str, Json]:
        """Return it as JSON members; what it has not is left out."""
        members = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in members.items() if value or name in ("type", "name")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """What is still there afterwards, why, and what ends it."""

    found: Found
    why: str
    fix: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return it as JSON members."""
        return {**self.found.to_json(), "why": self.why, **({"fix": self.fix} if self.fix else {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What has skrkit's tag: to remove in this order, and what was removed before and can be purged.

    `groups` are the resource groups with the tag; each goes last, and only if nothing is in it any more.
    """

    resources: tuple[Found, ...] = ()
    keys: tuple[Found, ...] = ()
    deleted: tuple[Found, ...] = ()
    groups: tuple[Found, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing at all."""
        return not (self.resources or self.keys or self.deleted or self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where to look: one resource group or, empty, the whole subscription.

    `key_urls` are vaults and Managed HSMs of somebody else in which step 3 may have made keys.
    """

    resource_group: str = ""
    key_urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TornDown:
    """What was done: removed, purged, and what remains."""

    removed: tuple[Found, ...] = ()
    purged: tuple[Found, ...] = ()
    remaining: tuple[Remaining, ...] = ()


Progress: TypeAlias = Callable[[str, Found], None]
"""What is told of each thing as soon as it is gone: "removed" or "purged", and which."""


def find(cloud: Cloud, scope: Scope) -> Inventory:
    """Return what has skrkit's tag. Nothing is changed. Raises `ServiceError` when a service refuses to list."""
    from skrkit.services import arm

    with azure_call("resources"), arm.resource_groups(cloud) as client:
        listed = (
            client.resources.list_by_resource_group(scope.resource_group)
            if scope.resource_group
            else client.resources.list()
        )
        resources = [_found(each.as_dict()) for each in listed if is_ours(each.tags)]
        groups = [
            Found(type=GROUP, name=str(group.name), resource_id=str(group.id), location=str(group.location))
            for group in client.resource_groups.list()
            if is_ours(group.tags) and scope.resource_group.lower() in ("", str(group.name).lower())
        ]
    ordered = sorted(resources, key=lambda each: _ORDER.get(each.type.lower(), len(_ORDER)))
    doomed = {_url_of(cloud, each) for each in resources if each.type.lower() in SOFT}
    keys = [key for url in scope.key_urls if url not in doomed for key in _keys(cloud, url)]
    return Inventory(
        resources=tuple(ordered), keys=tuple(keys), deleted=tuple(_deleted(cloud, scope)), groups=tuple(groups)
    )


def _found(resource: dict[str, Any]) -> Found:
    return Found(
        type=_KINDS.get(str(resource["type"]).lower(), str(resource["type"])),
        name=str(resource["name"]),
        resource_id=str(resource["id"]),
        location=str(resource.get("location") or ""),
    )


def _url_of(cloud: Cloud, holder: Found) -> str:
    by_kind = cloud.endpoints.hsm_url if holder.type.lower() == HSM.lower() else cloud.endpoints.vault_url
    return by_kind(holder.name.lower())


def _keys(cloud: Cloud, url: str) -> Iterator[Found]:
    from skrkit.services.vault import key_client

    with azure_call(f"keys of {url}"), key_client(cloud, url) as keys:
        for key in keys.list_properties_of_keys():
            if is_ours(key.tags):
                yield Found(type=KEY, name=str(key.name), resource_id=str(key.id), url=url)
        for gone in keys.list_deleted_keys():
            if is_ours(gone.properties.tags):
                level = gone.properties.recovery_level
                yield Found(
                    type=KEY,
                    name=str(gone.name),
                    resource_id=str(gone.id),
                    url=url,
                    deleted=True,
                    purge_date=_date(gone.scheduled_purge_date),
                    protected="Purgeable" not in str(getattr(level, "value", level)),
                )


def _deleted(cloud: Cloud, scope: Scope) -> Iterator[Found]:
    """Yield the soft-deleted vaults and Managed HSMs that have the tag."""
    from skrkit.services import arm

    with azure_call("deleted vaults and Managed HSMs"), arm.key_vaults(cloud) as client:
        for kind, listed, source in (
            (VAULT, client.vaults.list_deleted(), "vaultId"),
            (HSM, client.managed_hsms.list_deleted(), "mhsmId"),
        ):
            for each in listed:
                properties = each.as_dict().get("properties") or {}
                resource_id = str(properties.get(source) or "")
                inside = f"/resourcegroups/{scope.resource_group}/".lower() in resource_id.lower()
                if is_ours(properties.get("tags")) and (inside or not scope.resource_group):
                    yield Found(
                        type=kind,
                        name=str(each.name),
                        resource_id=resource_id,
                        location=str(properties.get("location") or ""),
                        deleted=True,
                        purge_date=str(properties.get("scheduledPurgeDate") or ""),
                        protected=properties.get("purgeProtectionEnabled") is True,
                    )


def _date(moment: Any) -> str:
    return moment.isoformat().replace("+00:00", "Z") if moment is not None else ""


@dataclass(slots=True, kw_only=True)
class _Work:
    """One teardown on its way."""

    cloud: Cloud
    progress: Progress
    removed: list[Found] = field(default_factory=list)
    purged: list[Found] = field(default_factory=list)
    remaining: list[Remaining] = field(default_factory=list)

    def gone(self, found: Found, *, purged: bool = False) -> None:
        (self.purged if purged else self.removed).append(found)
        self.progress("purged" if purged else "removed", found)


def tear_down(
    cloud: Cloud, scope: Scope, *, purge: bool = False, progress: Progress = lambda _what, _found: None
) -> TornDown:
    """Return what was removed, and what remains. With `purge` also what is soft-deleted goes, where Azure allows it.

    What was removed before an error stays removed: the same call goes on from there. Raises `ServiceError`.
    """
    from skrkit.provision import teardown_keys

    inventory = find(cloud, scope)
    work = _Work(cloud=cloud, progress=progress)
    for key in inventory.keys:
        if not key.deleted:
            teardown_keys.remove(cloud, key)
            work.gone(key)
    _remove_resources(work, inventory)
    _remove_groups(work, inventory)
    after = find(cloud, scope)
    for found in (*after.keys, *after.deleted):
        if purge and not found.protected:
            teardown_keys.purge(cloud, found) if found.type == KEY else _purge(cloud, found)
            work.gone(found, purged=True)
        elif found.deleted:
            work.remaining.append(_waiting(cloud, found))
    return TornDown(removed=tuple(work.removed), purged=tuple(work.purged), remaining=tuple(work.remaining))


def _remove_resources(work: _Work, inventory: Inventory) -> None:
    from azure.core.exceptions import ResourceNotFoundError

    from skrkit.services import arm

    with arm.resource_groups(work.cloud) as client:
        for found in inventory.resources:
            version = REMOVABLE.get(found.type)
            if version is None:
                why = "it has the tag, and is of a type that skrkit never makes"
                work.remaining.append(
                    Remaining(found=found, why=why, fix=f"az resource delete --ids {found.resource_id}")
                )
                continue
            # What its VM took along is not there any more: Azure answers 204, or 404 where its group is gone as well.
            with azure_call(f"{found.type} {found.name}"), suppress(ResourceNotFoundError):
                client.resources.begin_delete_by_id(found.resource_id, api_version=version).result()
            work.gone(found)


def _remove_groups(work: _Work, inventory: Inventory) -> None:
    """Remove each group that skrkit made, if all that is in it is gone: a group takes everything in it along."""
    from skrkit.services import arm

    with azure_call("resource group"), arm.resource_groups(work.cloud) as client:
        for group in inventory.groups:
            left = [str(each.name) for each in client.resources.list_by_resource_group(group.name)]
            if left:
                why = f"there is something in it that skrkit did not make: {', '.join(left)}"
                fix = f"az group delete --name {group.name}   takes that along"
                work.remaining.append(Remaining(found=group, why=why, fix=fix))
                continue
            client.resource_groups.begin_delete(group.name).result()
            work.gone(group)


def _purge(cloud: Cloud, found: Found) -> None:
    from skrkit.services import arm

    with azure_call(f"purge of {found.type} {found.name}"), arm.key_vaults(cloud) as client:
        kind = client.managed_hsms if found.type == HSM else client.vaults
        kind.begin_purge_deleted(found.name, found.location).result()


def _waiting(cloud: Cloud, found: Found) -> Remaining:
    """Return why something that was deleted is still there, and until when."""
    until = f"until {found.purge_date}" if found.purge_date else "until its retention ends"
    name = "its name stays taken" if found.type != KEY else "its name in there stays taken"
    if found.protected:
        return Remaining(found=found, why=f"soft-deleted and purge-protected {until}: nobody can purge it, and {name}")
    where = f" --cloud azure --subscription {cloud.subscription}" if cloud.world == "azure" else ""
    if cloud.endpoints.name != "AzureCloud":
        where += f" --azure-cloud {cloud.endpoints.name}"
    why = f"soft-deleted {until}: it can be recovered, and {name}"
    return Remaining(found=found, why=why, fix=f"skrkit teardown{where} --purge --yes")
