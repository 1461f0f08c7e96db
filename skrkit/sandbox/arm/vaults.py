"""Vaults as resources: create, change, access policies, soft delete, recover, purge, name check.

A vault's name is unique in all of Azure: `VAULT_NAME_KIND` maps it to the resource id, and the data plane finds the
vault there. A deleted vault keeps its name, in `DELETED_VAULT_KIND`, until it is purged.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from starlette.responses import JSONResponse, Response

from skrkit.sandbox.arm import errors
from skrkit.sandbox.arm.access_policies import checked_policies
from skrkit.sandbox.arm.call import ARM_KIND, VAULT_TYPE, Call
from skrkit.sandbox.arm.errors import bad_request
from skrkit.sandbox.arm.network_rules import take_network
from skrkit.sandbox.arm.operations import finished, rfc3339
from skrkit.sandbox.roles import assignment
from skrkit.sandbox.store import Document
from skrkit.sandbox.web import AzureError
from skrkit.sandbox.world import World

DELETED_VAULT_TYPE = "Microsoft.KeyVault/locations/deletedVaults"
VAULT_NAME_KIND = "vault-name"  # vault name in lower case -> {"id": resource id}
DELETED_VAULT_KIND = "deleted-vault"  # vault name in lower case -> {"body", "deleted", "purge", "tags"}
RBAC_BY_DEFAULT_FROM = "2026-02-01"  # from this api-version on, a new vault uses roles unless the body says otherwise
RETENTION_DAYS = range(7, 91)

_NAME = re.compile(r"[A-Za-z](?!.*--)[A-Za-z0-9-]{1,22}[A-Za-z0-9]\Z")
_FLAGS = ("enabledForDeployment", "enabledForDiskEncryption", "enabledForTemplateDeployment")


def put_vault(call: Call) -> Response:
    """Return the vault after a create, a full update, or a recover (`createMode` "recover")."""
    call.require_group()
    name = call.path["vault"]
    if not _NAME.match(name):
        raise AzureError(
            400,
            "VaultNameNotValid",
            f"The vault name '{name}' is invalid. A vault's name must be between 3-24 alphanumeric characters. The "
            "name must begin with a letter, end with a letter or digit, and not contain consecutive hyphens.",
        )
    with call.lock, call.world.store.transaction():
        before = call.read(call.resource_id(VAULT_TYPE, name))
        if before is None:
            mode = str(call.object_of("properties").get("createMode", "default")).lower()
            vault = _recovered(call, name) if mode == "recover" else _created(call, name)
            status = 201 if mode != "recover" else 200
        else:
            vault, status = _changed(before, call, whole=True), 200
        call.write(vault)
    return JSONResponse(vault, status)


def _created(call: Call, name: str) -> Document:
    location = call.body.get("location")
    if not isinstance(location, str) or not location:
        raise errors.no_location()
    _require_free_name(call.world, name)
    vault_id = call.resource_id(VAULT_TYPE, name)
    call.world.store.put(VAULT_NAME_KIND, name.lower(), {"id": vault_id.lower()})
    now = rfc3339(call.world.now())
    stamp = {"createdBy": call.caller.oid, "createdByType": "Application", "createdAt": now}
    vault: Document = {
        "id": vault_id,
        "name": name,
        "type": VAULT_TYPE,
        "location": location.lower().replace(" ", ""),
        "tags": {},
        "systemData": stamp | {"lastModifiedBy": call.caller.oid, "lastModifiedAt": now},
        "properties": {
            "enableSoftDelete": True,
            "softDeleteRetentionInDays": 90,
            "enableRbacAuthorization": call.api_version >= RBAC_BY_DEFAULT_FROM,
            "accessPolicies": [],
            "publicNetworkAccess": "Enabled",
        }
        | dict.fromkeys(_FLAGS, False),
    }
    return _changed(vault, call, whole=True, new=True)


def _require_free_name(world: World, name: str) -> None:
    if deleted_vault(world, name) is not None:
        raise AzureError(
            409,
            "ConflictError",
            f"A vault with the same name already exists in deleted state. You need to either recover or purge existing "
            f"key vault. Follow this link https://go.microsoft.com/fwlink/?linkid=2149745 for more information on soft "
            f"delete. Vault: {name}.",
        )
    if world.store.get(VAULT_NAME_KIND, name.lower()) is not None:
        raise AzureError(
            409, "VaultAlreadyExists", f"The vault name '{name}' is already in use. Vault names are globally unique."
        )


def _changed(vault: Document, call: Call, *, whole: bool, new: bool = False) -> Document:
    """Return the vault with the body's members taken over. `whole` is PUT, where sku and tenantId are needed."""
    given = call.object_of("properties")
    properties = dict(vault["properties"])
    if whole or "sku" in given:
        properties["sku"] = _checked_sku(given.get("sku"))
    if whole or "tenantId" in given:
        properties["tenantId"] = checked_tenant(call, given.get("tenantId"))
    if "accessPolicies" in given or whole:
        properties["accessPolicies"] = checked_policies(given.get("accessPolicies") or [], call.world.tenant)
    for flag in (*_FLAGS, "enableRbacAuthorization"):
        if isinstance(given.get(flag), bool):
            properties[flag] = given[flag]
    take_network(call, properties, given)
    take_protection(properties, given, new=new)
    properties["vaultUri"] = f"https://{str(vault['name']).lower()}.vault.azure.net/"
    properties["provisioningState"] = "Succeeded"
    tags = call.tags() if whole or "tags" in call.body else vault["tags"]
    system = vault["systemData"] | {"lastModifiedBy": call.caller.oid, "lastModifiedAt": rfc3339(call.world.now())}
    return vault | {"properties": properties, "tags": tags, "systemData": system}


def _checked_sku(sku: Any) -> dict[str, str]:
    name = str(sku.get("name", "")).lower() if isinstance(sku, dict) else ""
    family = str(sku.get("family", "")) if isinstance(sku, dict) else ""
    if name not in ("standard", "premium") or family.upper() != "A":
        raise bad_request("The parameter sku is invalid: expected family 'A' and name 'standard' or 'premium'.")
    return {"family": "A", "name": name}


def checked_tenant(call: Call, tenant: Any) -> str:
    """Return the tenant that a vault trusts: this sandbox's, which the body must name. Raises 400."""
    if str(tenant or "").lower() != call.world.tenant:
        raise bad_request(f"The parameter tenantId is invalid: expected '{call.world.tenant}', found '{tenant}'.")
    return call.world.tenant


def take_protection(properties: dict[str, Any], given: dict[str, Any], *, new: bool) -> None:
    """Take over soft delete and purge protection, which only ever become stricter."""
    if given.get("enableSoftDelete") is False:
        raise bad_request(
            'The property "enableSoftDelete" can be set to false only for creating new vault. Enabling the '
            "'soft delete' functionality is an irreversible action."
        )
    if given.get("enablePurgeProtection") is True:
        properties["enablePurgeProtection"] = True
    elif given.get("enablePurgeProtection") is False:
        raise bad_request(
            'The property "enablePurgeProtection" cannot be set to false. Enabling the purge protection for a vault is '
            "an irreversible action."
        )
    days = given.get("softDeleteRetentionInDays")
    if days is None:
        return
    if isinstance(days, str) and days.isascii() and days.isdigit():
        days = int(days[:4])  # the Azure CLI sends a text for a Managed HSM
    if not isinstance(days, int) or days not in RETENTION_DAYS:
        raise bad_request('The property "softDeleteRetentionInDays" must be between 7 and 90 days.')
    if not new and days != properties["softDeleteRetentionInDays"]:
        raise bad_request('The property "softDeleteRetentionInDays" has been set already and it can\'t be modified.')
    properties["softDeleteRetentionInDays"] = days


def patch_vault(call: Call) -> Response:
    """Return the vault with the given members changed and the others kept."""
    with call.lock:
        vault = _changed(call.require(VAULT_TYPE, call.path["vault"]), call, whole=False)
        call.write(vault)
    return JSONResponse(vault)


def get_vault(call: Call) -> Response:
    """Return the vault."""
    return JSONResponse(call.require(VAULT_TYPE, call.path["vault"]))


def list_vaults(call: Call) -> Response:
    """Return the vaults of the group, or of the subscription."""
    if "group" in call.path:
        call.require_group()
    return JSONResponse({"value": call.resources(VAULT_TYPE, group="group" in call.path)})


def delete_vault(call: Call) -> Response:
    """Return 200 after the vault went to soft delete, 204 if it was not there."""
    with call.lock:
        call.require_group()
        vault = call.read(call.resource_id(VAULT_TYPE, call.path["vault"]))
        if vault is None:
            return Response(status_code=204)
        remove(call, vault)
    return Response(status_code=200)


def remove(call: Call, vault: Document) -> None:
    """Move a vault to soft delete: its keys stay, its name stays taken; role assignments to it are gone for good."""
    now = call.world.now()
    purge = now + timedelta(days=int(vault["properties"]["softDeleteRetentionInDays"]))
    record = {"body": vault, "deleted": now.isoformat(), "purge": purge.isoformat()}
    name = str(vault["name"]).lower()
    with call.world.store.transaction():
        call.world.store.put(DELETED_VAULT_KIND, name, record)
        call.world.store.delete(ARM_KIND, str(vault["id"]).lower())
        call.world.store.delete(VAULT_NAME_KIND, name)
        assignment.remove_within(call.world, str(vault["id"]))


def deleted_vault(world: World, name: str) -> Document | None:
    """Return the record of a soft-deleted vault, or None. One whose time is over is purged here."""
    record = world.store.get(DELETED_VAULT_KIND, name.lower())
    if record is not None and datetime.fromisoformat(record["purge"]) <= world.now():
        purge(world, name)
        return None
    return record


def purge(world: World, name: str) -> None:
    """Remove a soft-deleted vault and its keys for good."""
    from skrkit.sandbox.vault.documents import purge_all

    with world.store.transaction():
        purge_all(world.store, name.lower())
        world.store.delete(DELETED_VAULT_KIND, name.lower())


def _recovered(call: Call, name: str) -> Document:
    record = deleted_vault(call.world, name)
    if record is None:
        raise AzureError(404, "DeletedVaultNotFound", f"The specified deleted vault '{name}' does not exist.")
    body: Document = record["body"]
    if str(body["id"]).lower() != call.resource_id(VAULT_TYPE, name).lower():
        raise bad_request(f"The vault '{name}' was deleted from {body['id']} and is recovered only to there.")
    call.world.store.delete(DELETED_VAULT_KIND, name.lower())
    call.world.store.put(VAULT_NAME_KIND, name.lower(), {"id": str(body["id"]).lower()})
    return body


def _shown_deleted(call: Call, record: Document) -> Document:
    vault = record["body"]
    base = f"/subscriptions/{call.world.subscription}/providers/Microsoft.KeyVault/locations/{vault['location']}"
    return {
        "id": f"{base}/deletedVaults/{vault['name']}",
        "name": vault["name"],
        "type": "Microsoft.KeyVault/deletedVaults",
        "properties": {
            "vaultId": vault["id"],
            "location": vault["location"],
            "tags": vault["tags"],
            "deletionDate": rfc3339(datetime.fromisoformat(record["deleted"])),
            "scheduledPurgeDate": rfc3339(datetime.fromisoformat(record["purge"])),
            "purgeProtectionEnabled": bool(vault["properties"].get("enablePurgeProtection")),
        },
    }


def list_deleted(call: Call) -> Response:
    """Return the soft-deleted vaults of the subscription."""
    names = [name for name, _ in call.world.store.list(DELETED_VAULT_KIND)]
    records = [record for name in names if (record := deleted_vault(call.world, name)) is not None]
    return JSONResponse({"value": [_shown_deleted(call, record) for record in records]})


def _require_deleted(call: Call) -> Document:
    record = deleted_vault(call.world, call.path["vault"])
    if record is None or record["body"]["location"] != call.path["location"].lower():
        raise AzureError(
            404, "DeletedVaultNotFound", f"The specified deleted vault '{call.path['vault']}' does not exist."
        )
    return record


def get_deleted(call: Call) -> Response:
    """Return one soft-deleted vault."""
    return JSONResponse(_shown_deleted(call, _require_deleted(call)))


def purge_deleted(call: Call) -> Response:
    """Return 202 after a soft-deleted vault and its keys were removed for good."""
    with call.lock:
        record = _require_deleted(call)
        if record["body"]["properties"].get("enablePurgeProtection"):
            raise bad_request(
                'Operation "purge" is not allowed because purge protection is enabled for this vault. Key Vault '
                "service will automatically purge it after the retention period has passed."
            )
        purge(call.world, call.path["vault"])
    headers = finished(call, provider="Microsoft.KeyVault", location=call.path["location"])
    return Response(status_code=202, headers=headers)


def check_name(call: Call) -> Response:
    """Return whether a vault name can be taken, and if not why."""
    name = str(call.body.get("name", ""))
    answer: dict[str, Any] = {"nameAvailable": True}
    if not _NAME.match(name):
        answer = {
            "nameAvailable": False,
            "reason": "AccountNameInvalid",
            "message": f"The vault name '{name}' is invalid.",
        }
    elif call.world.store.get(VAULT_NAME_KIND, name.lower()) or deleted_vault(call.world, name):
        answer = {
            "nameAvailable": False,
            "reason": "AlreadyExists",
            "message": f"The vault name '{name}' is already in use. Vault names are globally unique.",
        }
    return JSONResponse(answer)
