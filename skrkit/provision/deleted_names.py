"""A name that a soft-deleted vault or Managed HSM keeps: which one it is, and how it is taken back or ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from skrkit.provision.tags import is_ours
from skrkit.services.azure_errors import azure_call

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.errors import ServiceError
    from skrkit.provision.stage import Stage

# What Azure says to a vault of such a name, and to a Managed HSM (the latter is inferred).
TAKEN = ("ConflictError", "ManagedHsmAlreadyExists")
_NOT_LISTED = (
    "Choose another name: this one was deleted in another subscription, or the caller may not list what is deleted "
    "(az keyvault list-deleted)."
)


def with_ways_out(cloud: Cloud, stage: Stage, error: ServiceError) -> ServiceError:
    """Return the error of a name that is taken with the commands that free it; any other error as it is.

    Resource Manager is asked what is deleted. Raises `ServiceError` when it does not answer.
    """
    if error.code not in TAKEN:
        return error
    name = stage.hsm or stage.vault
    deleted = _deleted(cloud, stage, name)
    if deleted is None:
        return replace(error, fix=_NOT_LISTED if error.code == "ConflictError" else error.fix)
    return replace(error, fix="; ".join(_ways_out(cloud, stage, name, deleted)))


def _ways_out(cloud: Cloud, stage: Stage, name: str, deleted: dict[str, Any]) -> Iterator[str]:
    sandbox = cloud.world == "sandbox"
    az = "skrkit sandbox exec -- az keyvault" if sandbox else "az keyvault"
    there = f"{'--hsm-name' if stage.hsm else '--name'} {name} --location {deleted['location']}"
    group = str(deleted.get("vaultId") or deleted.get("mhsmId")).split("/")[4]
    if deleted.get("purgeProtectionEnabled"):
        yield f"nobody can purge it before {deleted['scheduledPurgeDate']}"
    else:
        if sandbox and is_ours(deleted.get("tags")):
            yield "skrkit teardown --purge --yes   ends it and its keys for good, and all else that skrkit made"
        yield f"{az} purge {there}   ends it and its keys for good"
    yield f"{az} recover {there}   takes it back with its keys, into resource group {group}"
    yield f"or another name: {'--hsm' if stage.hsm else '--vault'} NAME"


def _deleted(cloud: Cloud, stage: Stage, name: str) -> dict[str, Any] | None:
    """Return the properties of the deleted vault or Managed HSM of this name that the caller may see."""
    from skrkit.services import arm

    with azure_call("deleted vaults and Managed HSMs"), arm.key_vaults(cloud) as client:
        listed = client.managed_hsms.list_deleted() if stage.hsm else client.vaults.list_deleted()
        found = (each.as_dict() for each in listed if str(each.name).lower() == name.lower())
        return next((each.get("properties") or {} for each in found), None)
