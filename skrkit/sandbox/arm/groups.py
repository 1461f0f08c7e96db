"""Subscription, resource groups, and the lists of resources over all types."""

from __future__ import annotations

import re

from starlette.responses import JSONResponse, Response

from skrkit.sandbox.arm import attestation_providers, deleted_hsms, errors, machines, user_assigned, vaults
from skrkit.sandbox.arm.attestation_providers import PROVIDER_TYPE
from skrkit.sandbox.arm.call import ARM_KIND, VAULT_TYPE, VM_TYPE, Call
from skrkit.sandbox.arm.identity import IDENTITY_TYPE
from skrkit.sandbox.arm.operations import finished
from skrkit.sandbox.arm.templates import deployments
from skrkit.sandbox.hsm.resource import HSM_TYPE
from skrkit.sandbox.roles import assignment
from skrkit.sandbox.store import Document
from skrkit.sandbox.web import AzureError

GROUP_TYPE = "Microsoft.Resources/resourceGroups"
_GROUP_NAME = re.compile(r"[-\w.()]{0,89}[-\w()]\Z")


def get_subscription(call: Call) -> Response:
    """Return the one subscription that the sandbox has. Raises `AzureError` 403 for who has no role anywhere in it."""
    if not _reaches(call, call.url_path):
        raise errors.unauthorised(call.caller.oid, "Microsoft.Resources/subscriptions/read", call.url_path)
    return JSONResponse(_subscription(call))


def list_subscriptions(call: Call) -> Response:
    """Return the list of that one subscription, empty for who has no role anywhere in it."""
    mine = _reaches(call, f"/subscriptions/{call.world.subscription}")
    return JSONResponse({"value": [_subscription(call)] if mine else []})


def _reaches(call: Call, scope: str) -> bool:
    return assignment.reaches(call.world, call.caller.oid, scope)


def _subscription(call: Call) -> Document:
    subscription = call.world.subscription
    return {
        "id": f"/subscriptions/{subscription}",
        "subscriptionId": subscription,
        "tenantId": call.world.tenant,
        "displayName": "skrkit sandbox",
        "state": "Enabled",
        "authorizationSource": "RoleBased",
    }


def put_group(call: Call) -> Response:
    """Return the group, 201 if it is new. The location is fixed at creation."""
    name = call.path["group"]
    if not _GROUP_NAME.match(name):
        raise AzureError(
            400,
            "InvalidResourceGroup",
            f"The provided resource group name '{name}' has these invalid characters. The name can only be a letter, "
            "digit, '-', '.', '(', ')' or '_'.",
        )
    location = call.body.get("location")
    if not isinstance(location, str) or not location:
        raise errors.no_location()
    with call.lock:
        before = call.read(call.group_id)
        if before is not None and before["location"] != location.lower().replace(" ", ""):
            raise AzureError(
                409,
                "InvalidResourceGroupLocation",
                f"Invalid resource group location '{location}'. The Resource group already exists in location "
                f"'{before['location']}'.",
            )
        group = before or {"id": call.group_id, "name": name, "type": GROUP_TYPE}
        group |= {
            "location": location.lower().replace(" ", ""),
            "tags": call.tags(),
            "properties": {"provisioningState": "Succeeded"},
        }
        call.write(group)
    return JSONResponse(group, 201 if before is None else 200)


def get_group(call: Call) -> Response:
    """Return the group."""
    return JSONResponse(call.require_group())


def head_group(call: Call) -> Response:
    """Return 204 if the group is there, 404 if not, with no body."""
    return Response(status_code=404 if call.read(call.group_id) is None else 204)


def list_groups(call: Call) -> Response:
    """Return the groups of the subscription in which the caller has any role (inferred)."""
    found = call.world.store.list(ARM_KIND, f"/subscriptions/{call.world.subscription}/resourcegroups/".lower())
    groups = [body for _, body in found if body["type"] == GROUP_TYPE]
    return JSONResponse({"value": [body for body in groups if _reaches(call, body["id"])]})


def delete_group(call: Call) -> Response:
    """Return 202 after the group and all that is in it were deleted; vaults and Managed HSMs go to soft delete."""
    with call.lock:
        group = call.require_group()
        for resource in call.resources():
            if resource["type"] == VM_TYPE:
                machines.remove(call, resource)
            elif resource["type"] == VAULT_TYPE:
                vaults.remove(call, resource)
            elif resource["type"] == HSM_TYPE:
                deleted_hsms.remove(call, resource)
            elif resource["type"] == IDENTITY_TYPE:
                user_assigned.remove(call.world, resource)
            elif resource["type"] == PROVIDER_TYPE:
                attestation_providers.remove(call.world, resource)
            else:
                call.world.store.delete(ARM_KIND, str(resource["id"]).lower())
        deployments.remove_of_group(call)
        call.world.store.delete(ARM_KIND, call.group_id.lower())
        assignment.remove_within(call.world, call.group_id)
    headers = finished(call, provider="Microsoft.Resources", location=str(group["location"]))
    return Response(status_code=202, headers=headers)


def list_resources(call: Call) -> Response:
    """Return the resources of the group or the subscription that the caller may read.

    `$filter` may say `resourceType`, `name`, `resourceGroup` or `location eq '...'`, several with `and`.
    """
    wanted = _asked(call.query.get("$filter", ""))
    shown = ("id", "name", "type", "location", "tags", "identity")
    resources = [
        body
        for body in call.resources(group="group" in call.path)
        if _is_asked_for(body, wanted)
        and assignment.allows(call.world, call.caller.oid, f"{body['type']}/read", body["id"])
    ]
    return JSONResponse({"value": [{k: body[k] for k in shown if k in body} for body in resources]})


def _asked(expression: str) -> dict[str, str]:
    """Return what a `$filter` asks of each member, both in lower case."""
    asked = {}
    for part in re.split(r"\s+and\s+", expression.strip(), flags=re.IGNORECASE) if expression.strip() else []:
        match = re.fullmatch(r"(resourceType|name|resourceGroup|location)\s+eq\s+'([^']+)'", part, re.IGNORECASE)
        if match is None:
            raise errors.not_here(
                f"the filter {part!r}: it understands resourceType, name, resourceGroup, location eq '...'"
            )
        asked[match[1].lower()] = match[2].lower()
    return asked


def _is_asked_for(body: Document, wanted: dict[str, str]) -> bool:
    said = {
        "resourcetype": body["type"],
        "name": body["name"],
        "resourcegroup": str(body["id"]).split("/")[4],
        "location": body.get("location", ""),
    }
    return all(str(said[name]).lower() == value for name, value in wanted.items())
