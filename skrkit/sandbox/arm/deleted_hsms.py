"""Deleted Managed HSMs: they keep their name, keys, roles and security domain until they are purged, and cost on."""

from __future__ import annotations

from datetime import datetime, timedelta

from starlette.responses import JSONResponse, Response

from skrkit.sandbox.arm.call import ARM_KIND, Call
from skrkit.sandbox.arm.errors import bad_request
from skrkit.sandbox.arm.operations import finished, rfc3339
from skrkit.sandbox.hsm import roles
from skrkit.sandbox.hsm.resource import (
    DOMAIN_KIND,
    HSM_NAME_KIND,
    HSM_TYPE,
    JOB_KIND,
    SETTING_KIND,
    HsmResource,
    key_space,
)
from skrkit.sandbox.hsm.security_domain import TRANSFER_KIND
from skrkit.sandbox.roles import assignment
from skrkit.sandbox.store import Document
from skrkit.sandbox.web import AzureError
from skrkit.sandbox.world import World

DELETED_HSM_TYPE = "Microsoft.KeyVault/locations/deletedManagedHsms"
DELETED_HSM_KIND = "deleted-hsm"  # name in lower case -> {"body", "deleted", "purge"}


def remove(call: Call, hsm: Document) -> None:
    """Move an HSM to soft delete. Its local roles stay with it; Azure role assignments to it are gone for good."""
    now, name = call.world.now(), str(hsm["name"]).lower()
    purge_at = now + timedelta(days=int(hsm["properties"]["softDeleteRetentionInDays"]))
    record = {"body": hsm, "deleted": now.isoformat(), "purge": purge_at.isoformat()}
    with call.world.store.transaction():
        call.world.store.put(DELETED_HSM_KIND, name, record)
        call.world.store.delete(ARM_KIND, str(hsm["id"]).lower())
        call.world.store.delete(HSM_NAME_KIND, name)
        assignment.remove_within(call.world, str(hsm["id"]))


def deleted_hsm(world: World, name: str) -> Document | None:
    """Return the record of a soft-deleted HSM, or None. One whose time is over is purged here."""
    record = world.store.get(DELETED_HSM_KIND, name.lower())
    if record is not None and datetime.fromisoformat(record["purge"]) <= world.now():
        purge(world, record)
        return None
    return record


def purge(world: World, record: Document) -> None:
    """Remove a soft-deleted HSM for good, and all that was in it."""
    from skrkit.sandbox.vault.documents import purge_all

    hsm = HsmResource(body=record["body"])
    with world.store.transaction():
        purge_all(world.store, key_space(hsm.name))
        roles.remove_all(world, hsm)
        for job, _ in world.store.list(JOB_KIND, f"{hsm.name}/"):
            world.store.delete(JOB_KIND, job)
        for kind in (DOMAIN_KIND, TRANSFER_KIND, SETTING_KIND, DELETED_HSM_KIND):
            world.store.delete(kind, hsm.name)


def recovered(call: Call, name: str) -> Document:
    """Return the body of a deleted HSM, which has its name again. Raises 404 where there is none."""
    record = deleted_hsm(call.world, name)
    if record is None:
        raise _not_found(name)
    body: Document = record["body"]
    if str(body["id"]).lower() != call.resource_id(HSM_TYPE, name).lower():
        raise bad_request(f"The Managed HSM '{name}' was deleted from {body['id']} and is recovered only to there.")
    call.world.store.delete(DELETED_HSM_KIND, name.lower())
    call.world.store.put(HSM_NAME_KIND, name.lower(), {"id": str(body["id"]).lower()})
    return body


def _not_found(name: str) -> AzureError:
    return AzureError(404, "DeletedManagedHsmNotFound", f"The specified deleted Managed HSM '{name}' does not exist.")


def _require(call: Call) -> Document:
    record = deleted_hsm(call.world, call.path["hsm"])
    if record is None or record["body"]["location"] != call.path["location"].lower():
        raise _not_found(call.path["hsm"])
    return record


def _shown(call: Call, record: Document) -> Document:
    hsm = record["body"]
    base = f"/subscriptions/{call.world.subscription}/providers/Microsoft.KeyVault/locations/{hsm['location']}"
    return {
        "id": f"{base}/deletedManagedHSMs/{hsm['name']}",
        "name": hsm["name"],
        "type": "Microsoft.KeyVault/deletedManagedHSMs",
        "properties": {
            "mhsmId": hsm["id"],
            "location": hsm["location"],
            "tags": hsm["tags"],
            "deletionDate": rfc3339(datetime.fromisoformat(record["deleted"])),
            "scheduledPurgeDate": rfc3339(datetime.fromisoformat(record["purge"])),
            "purgeProtectionEnabled": bool(hsm["properties"].get("enablePurgeProtection")),
        },
    }


def list_deleted(call: Call) -> Response:
    """Return the soft-deleted HSMs of the subscription."""
    names = [name for name, _ in call.world.store.list(DELETED_HSM_KIND)]
    records = [record for name in names if (record := deleted_hsm(call.world, name)) is not None]
    return JSONResponse({"value": [_shown(call, record) for record in records]})


def get_deleted(call: Call) -> Response:
    """Return one soft-deleted HSM."""
    return JSONResponse(_shown(call, _require(call)))


def purge_deleted(call: Call) -> Response:
    """Return 202 after a soft-deleted HSM was removed for good."""
    with call.lock:
        record = _require(call)
        if record["body"]["properties"].get("enablePurgeProtection"):
            raise bad_request(
                'Operation "purge" is not allowed because purge protection is enabled for this Managed HSM. It will be '
                "purged after the retention period has passed."
            )
        purge(call.world, record)
    headers = finished(call, provider="Microsoft.KeyVault", location=call.path["location"])
    return Response(status_code=202, headers=headers)
