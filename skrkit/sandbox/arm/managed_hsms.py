"""Managed HSMs as resources: create, change, regions, name check. `deleted_hsms` has what becomes of deleted ones.

A new HSM is there at once, where Azure takes tens of minutes; its keys wait for the security domain (`sandbox.hsm`).
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from starlette.responses import JSONResponse, Response

from skrkit.sandbox import chance
from skrkit.sandbox.arm import deleted_hsms, errors, keys
from skrkit.sandbox.arm.call import Call, Handler
from skrkit.sandbox.arm.deleted_hsms import DELETED_HSM_TYPE
from skrkit.sandbox.arm.errors import bad_request
from skrkit.sandbox.arm.identity import WantedIdentity, apply_identity, wanted_identity
from skrkit.sandbox.arm.network_rules import take_network
from skrkit.sandbox.arm.operations import finished, rfc3339
from skrkit.sandbox.arm.vaults import checked_tenant, take_protection
from skrkit.sandbox.hsm import roles
from skrkit.sandbox.hsm.resource import HSM_NAME_KIND, HSM_TYPE, SUFFIX, HsmResource, activation
from skrkit.sandbox.store import Document
from skrkit.sandbox.web import AzureError

SKUS = {
    "B": frozenset(("Standard_B1", "Custom_B6", "Custom_B32", *(f"Standard_B{size}v2" for size in (1, 5, 10, 15, 20)))),
    "C": frozenset(("Custom_C10", "Custom_C42")),
}
READY = "The Managed HSM is provisioned and ready to use."  # (inferred)
_NAME = re.compile(r"[A-Za-z](?!.*--)[A-Za-z0-9-]{1,22}[A-Za-z0-9]\Z")


def put_hsm(call: Call) -> Response:
    """Return 202 with the HSM that is being made, or recovered (`createMode` "recover"); 200 after a full update."""
    call.require_group()
    name = call.path["hsm"]
    if not _NAME.match(name):  # the words are not known to the letter (inferred)
        raise bad_request(f"The Managed HSM name '{name}' is invalid: 3 to 24 letters, digits and hyphens.")
    with call.lock, call.world.store.transaction():
        before = call.read(call.resource_id(HSM_TYPE, name))
        if before is not None:
            hsm = _changed(before, call, whole=True)
            call.write(hsm)
            return JSONResponse(hsm)
        mode = str(call.object_of("properties").get("createMode", "default")).lower()
        hsm = deleted_hsms.recovered(call, name) if mode == "recover" else _created(call, name)
        call.write(hsm)
    shown = hsm | {"properties": hsm["properties"] | {"provisioningState": "Provisioning"}}
    headers = finished(call, provider="Microsoft.KeyVault", location=str(hsm["location"]))
    return JSONResponse(shown, 202, headers=headers)


def _created(call: Call, name: str) -> Document:
    location = call.body.get("location")
    if not isinstance(location, str) or not location:
        raise errors.no_location()
    reason = _name_taken(call, name)
    if reason:
        raise AzureError(409, "ManagedHsmAlreadyExists", reason)  # (inferred)
    hsm_id = call.resource_id(HSM_TYPE, name)
    call.world.store.put(HSM_NAME_KIND, name.lower(), {"id": hsm_id.lower()})
    now = rfc3339(call.world.now())
    stamp = {"createdBy": call.caller.oid, "createdByType": "Application", "createdAt": now}
    administrators = _administrators(call)
    hsm: Document = {
        "id": hsm_id,
        "name": name,
        "type": HSM_TYPE,
        "location": location.lower().replace(" ", ""),
        "tags": {},
        "systemData": stamp | {"lastModifiedBy": call.caller.oid, "lastModifiedAt": now},
        "properties": {
            "tenantId": call.world.tenant,
            "initialAdminObjectIds": administrators,
            "hsmUri": f"https://{name.lower()}{SUFFIX}/",
            "enableSoftDelete": True,
            "softDeleteRetentionInDays": 90,
            "enablePurgeProtection": False,
            "publicNetworkAccess": "Enabled",
            "regions": [],
            "statusMessage": READY,
            "securityDomainProperties": activation(active=False),
        },
    }
    for administrator in administrators:
        roles.assign(
            call.world,
            HsmResource(body=hsm),
            guid=chance.uuid4("hsm/first-administrator"),
            principal=administrator,
            role=roles.ADMINISTRATOR,
            scope="/",
        )
    return _changed(hsm, call, whole=True, new=True)


def _administrators(call: Call) -> list[str]:
    """Return the object ids that the HSM is first given to. Raises 400; the words are inferred."""
    given = call.object_of("properties").get("initialAdminObjectIds")
    if not isinstance(given, list) or not given:
        raise bad_request("The property 'initialAdminObjectIds' must name at least one object id.")
    try:
        return list(dict.fromkeys(str(uuid.UUID(str(each))) for each in given))
    except ValueError:
        raise bad_request("The property 'initialAdminObjectIds' must have object ids, which are GUIDs.") from None


def _changed(hsm: Document, call: Call, *, whole: bool, new: bool = False) -> Document:
    """Return the HSM with the body's members taken over. `whole` is PUT. The first administrators stay as they were."""
    given = call.object_of("properties")
    properties = dict(hsm["properties"])
    if whole or given.get("tenantId") is not None:
        properties["tenantId"] = checked_tenant(call, given.get("tenantId", None if new else properties["tenantId"]))
    take_network(call, properties, given)
    # False is what an HSM begins with, and so no attempt to take protection back.
    unprotected = given.get("enablePurgeProtection") is False and not properties["enablePurgeProtection"]
    take_protection(properties, given | ({"enablePurgeProtection": None} if unprotected else {}), new=new)
    properties["provisioningState"] = "Succeeded"
    changed = hsm | {"properties": properties}
    if new or call.body.get("sku") is not None:
        changed["sku"] = _checked_sku(call.body.get("sku"))
    if whole or "tags" in call.body:
        changed["tags"] = call.tags()
    if call.body.get("identity") is not None:
        apply_identity(call, changed, _user_assigned(call, hsm))
    changed["systemData"] = hsm["systemData"] | {
        "lastModifiedBy": call.caller.oid,
        "lastModifiedAt": rfc3339(call.world.now()),
    }
    return changed


def _user_assigned(call: Call, hsm: Document) -> WantedIdentity | None:
    """Return the identities that an HSM is to have. It has none of its own (inferred; the words too)."""
    wanted = wanted_identity(call, hsm, call.body.get("identity"))
    if wanted is not None and wanted.own:
        raise bad_request("The identity type of a Managed HSM is 'UserAssigned' or 'None'.")
    return wanted


def _checked_sku(sku: Any) -> dict[str, str]:
    family, name = (str(sku.get(each, "")) for each in ("family", "name")) if isinstance(sku, dict) else ("", "")
    if name not in SKUS.get(family, ()):
        raise bad_request("The parameter sku is invalid: expected family 'B' and a name such as 'Standard_B1'.")
    return {"family": family, "name": name}


def patch_hsm(call: Call) -> Response:
    """Return the HSM with the given members changed and the others kept."""
    with call.lock:
        hsm = _changed(call.require(HSM_TYPE, call.path["hsm"]), call, whole=False)
        call.write(hsm)
    return JSONResponse(hsm)


def get_hsm(call: Call) -> Response:
    """Return the HSM."""
    return JSONResponse(call.require(HSM_TYPE, call.path["hsm"]))


def list_hsms(call: Call) -> Response:
    """Return the HSMs of the group, or of the subscription."""
    if "group" in call.path:
        call.require_group()
    return JSONResponse({"value": call.resources(HSM_TYPE, group="group" in call.path)})


def delete_hsm(call: Call) -> Response:
    """Return 202 after the HSM went to soft delete, 204 if it was not there."""
    with call.lock:
        call.require_group()
        hsm = call.read(call.resource_id(HSM_TYPE, call.path["hsm"]))
        if hsm is None:
            return Response(status_code=204)
        deleted_hsms.remove(call, hsm)
    headers = finished(call, provider="Microsoft.KeyVault", location=str(hsm["location"]))
    return Response(status_code=202, headers=headers)


def list_regions(call: Call) -> Response:
    """Return the regions of the HSM: the one that it is in."""
    hsm = call.require(HSM_TYPE, call.path["hsm"])
    region = {"name": hsm["location"], "provisioningState": "Succeeded", "isPrimary": True}
    return JSONResponse({"value": [region]})


def _name_taken(call: Call, name: str) -> str:
    """Return why a name cannot be taken, or an empty text; the words are not known (inferred)."""
    if call.world.store.get(HSM_NAME_KIND, name.lower()) is not None:
        return f"The Managed HSM name '{name}' is already in use. Names are globally unique."
    if deleted_hsms.deleted_hsm(call.world, name) is not None:
        return f"A deleted Managed HSM has the name '{name}': recover or purge it."
    return ""


def check_name(call: Call) -> Response:
    """Return whether a name can be taken, and if not why."""
    name = str(call.body.get("name", ""))
    if not _NAME.match(name):
        message = f"The Managed HSM name '{name}' is invalid."
        return JSONResponse({"nameAvailable": False, "reason": "AccountNameInvalid", "message": message})
    message = _name_taken(call, name)
    if message:
        return JSONResponse({"nameAvailable": False, "reason": "AlreadyExists", "message": message})
    return JSONResponse({"nameAvailable": True})


_SUB = "/subscriptions/{subscription}"
_KV = f"{_SUB}/providers/Microsoft.KeyVault"
_HSMS = f"{_SUB}/resourceGroups/{{group}}/providers/{HSM_TYPE}"
_HSM = _HSMS + "/{hsm}"
_DELETED = _KV + "/locations/{location}/deletedManagedHSMs/{hsm}"
ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("PUT", _HSM, f"{HSM_TYPE}/write", put_hsm),
    ("PATCH", _HSM, f"{HSM_TYPE}/write", patch_hsm),
    ("GET", _HSM, f"{HSM_TYPE}/read", get_hsm),
    ("DELETE", _HSM, f"{HSM_TYPE}/delete", delete_hsm),
    ("GET", _HSMS, f"{HSM_TYPE}/read", list_hsms),
    ("GET", f"{_SUB}/providers/{HSM_TYPE}", f"{HSM_TYPE}/read", list_hsms),
    ("GET", _HSM + "/regions", f"{HSM_TYPE}/read", list_regions),
    ("POST", _KV + "/checkMhsmNameAvailability", "Microsoft.KeyVault/checkMhsmNameAvailability/read", check_name),
    ("GET", _KV + "/deletedManagedHSMs", "Microsoft.KeyVault/deletedManagedHsms/read", deleted_hsms.list_deleted),
    ("GET", _DELETED, f"{DELETED_HSM_TYPE}/read", deleted_hsms.get_deleted),
    ("POST", _DELETED + "/purge", f"{DELETED_HSM_TYPE}/purge/action", deleted_hsms.purge_deleted),
    ("PUT", _HSM + "/keys/{name}", f"{HSM_TYPE}/keys/write", keys.put_key),
    ("GET", _HSM + "/keys/{name}", f"{HSM_TYPE}/keys/read", keys.get_key),
    ("GET", _HSM + "/keys", f"{HSM_TYPE}/keys/read", keys.list_keys),
    ("GET", _HSM + "/keys/{name}/versions", f"{HSM_TYPE}/keys/versions/read", keys.list_versions),
    ("GET", _HSM + "/keys/{name}/versions/{version}", f"{HSM_TYPE}/keys/versions/read", keys.get_key),
)
