"""Managed disks as resources: kept and shown, never attached. A VM of the sandbox has no disk resource of its own."""

from __future__ import annotations

from skrkit.sandbox.arm.call import Call, Handler
from skrkit.sandbox.arm.errors import bad_request
from skrkit.sandbox.arm.operations import rfc3339
from skrkit.sandbox.arm.stored import rows
from skrkit.sandbox.store import Document

DISK_TYPE = "Microsoft.Compute/disks"


def _disk(call: Call, made: Document, before: Document) -> None:
    creation = call.object_of("creationData", made["properties"])
    if not creation.get("createOption"):
        raise bad_request(
            "Required parameter 'creationData' is missing (null).", code="InvalidParameter", target="creationData"
        )
    had = before.get("properties") or {}
    properties = made["properties"]
    made.pop("etag")
    properties["uniqueId"] = had.get("uniqueId") or properties["resourceGuid"]
    properties.pop("resourceGuid")
    properties |= {"diskState": "Unattached", "timeCreated": had.get("timeCreated") or rfc3339(call.world.now())}


ROUTES: tuple[tuple[str, str, str, Handler], ...] = rows(DISK_TYPE, _disk, created=200)
# Azure's own client of disks takes no 201.
