"""Confidential VMs as resources. The machine itself, with chip and vTPM, is made by `world.machines`."""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import JSONResponse, Response

from skrkit.sandbox import chance
from skrkit.sandbox.arm import errors, managed_run_commands
from skrkit.sandbox.arm.call import ARM_KIND, VM_TYPE, Call
from skrkit.sandbox.arm.errors import bad_request
from skrkit.sandbox.arm.identity import apply_identity, remove_identity, wanted_identity
from skrkit.sandbox.arm.machine_body import SNP_SIZE, check_machine_body, is_on, member, with_switches
from skrkit.sandbox.arm.operations import finished, rfc3339
from skrkit.sandbox.roles import assignment
from skrkit.sandbox.store import Document

FIXED_AT_CREATION = (
    ("properties", "securityProfile", "securityType"),
    ("properties", "storageProfile", "imageReference"),
    ("properties", "storageProfile", "osDisk", "managedDisk", "securityProfile", "securityEncryptionType"),
    ("properties", "osProfile", "computerName"),
    ("properties", "osProfile", "adminUsername"),
)
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_])?\Z")
_SECRETS = ("adminPassword", "customData")  # write-only members of osProfile


def put_vm(call: Call) -> Response:
    """Return 201 with an operation for a new VM, 200 for a full update of one that is there."""
    call.require_group()
    location = check_vm(call)
    name = call.path["vm"]
    with call.lock:
        before = call.read(call.resource_id(VM_TYPE, name))
        if before is not None:
            return JSONResponse(_updated(call, before))
        vm = _created(call, name, location)
    headers = finished(call, provider="Microsoft.Compute", location=vm["location"])
    creating = vm | {"properties": vm["properties"] | {"provisioningState": "Creating"}}
    return JSONResponse(creating, 201, headers=headers)


def check_vm(call: Call) -> str:
    """Return the region of a body that a VM can be made of, or changed by. Raises `AzureError` for any other."""
    name = call.path["vm"]
    if not _NAME.match(name):
        raise bad_request(f"The entity name 'vmName' is invalid: '{name}'.", code="InvalidParameter", target="vmName")
    location = call.body.get("location")
    if not isinstance(location, str) or not location:
        raise errors.no_location()
    check_machine_body(call.body)
    before = call.read(call.resource_id(VM_TYPE, name))
    if before is not None:
        _check_unchangeable(call, before)
    return location.lower().replace(" ", "")


def _created(call: Call, name: str, location: str) -> Document:
    vm_id = call.resource_id(VM_TYPE, name)
    wanted = wanted_identity(call, {"id": vm_id}, call.body.get("identity"))  # refused before a machine is made
    given = call.object_of("properties")
    vm: Document = {
        "id": vm_id,
        "name": name,
        "type": VM_TYPE,
        "location": location,
        "tags": call.tags(),
        "properties": with_switches(_without_secrets(given))
        | {"vmId": chance.uuid4("arm/vm"), "provisioningState": "Succeeded", "timeCreated": rfc3339(call.world.now())},
    }
    if call.body.get("zones"):
        vm["zones"] = call.body["zones"]
    # A machine without a resource is the remains of a process killed between the two: it never was anybody's VM.
    if call.world.machines.get(vm_id) is not None:
        call.world.machines.delete(vm_id)
    call.world.machines.create(
        vm_id,
        name=name,
        region=location,
        vm_id=vm["properties"]["vmId"],
        secure_boot=is_on(member(call.body, "properties", "securityProfile", "uefiSettings", "secureBootEnabled")),
    )
    with call.world.store.transaction():
        apply_identity(call, vm, wanted)
        call.write(vm)
    return vm


def _without_secrets(properties: dict[str, Any]) -> dict[str, Any]:
    profile = properties.get("osProfile")
    if not isinstance(profile, dict):
        return properties
    return properties | {"osProfile": {k: v for k, v in profile.items() if k not in _SECRETS}}


def _updated(call: Call, before: Document) -> Document:
    """Return the VM with the body merged in: given members replace, others stay, tags are replaced whole."""
    _check_unchangeable(call, before)
    size = member(call.body, "properties", "hardwareProfile", "vmSize")
    if size is not None and not SNP_SIZE.match(str(size).lower()):
        raise bad_request(
            f"The VM size '{size}' is not supported for creation of VMs and Virtual Machine Scale Set with "
            "'ConfidentialVM' security type."
        )
    vm = dict(before)
    read_only = ("vmId", "provisioningState", "timeCreated", "instanceView")
    given = with_switches(_without_secrets(call.object_of("properties")))
    vm["properties"] = _merged(before["properties"], {k: v for k, v in given.items() if k not in read_only})
    if call.body.get("tags") is not None:
        vm["tags"] = call.tags()
    wanted = wanted_identity(call, before, call.body.get("identity"))
    with call.world.store.transaction():
        apply_identity(call, vm, wanted)
        call.write(vm)
    return vm


def _check_unchangeable(call: Call, before: Document) -> None:
    for path in FIXED_AT_CREATION:
        wanted = member(call.body, *path)
        if wanted is not None and wanted != member(before, *path):
            raise errors.property_change(".".join(path[1:]))


def _merged(before: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(before)
    for name, value in changes.items():
        old = merged.get(name)
        merged[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def patch_vm(call: Call) -> Response:
    """Return 200 with the changed VM: the Python SDK takes no other first status for a PATCH."""
    with call.lock:
        return JSONResponse(_updated(call, call.require(VM_TYPE, call.path["vm"])))


def get_vm(call: Call) -> Response:
    """Return the VM; `$expand=instanceView` adds what it is doing."""
    vm = call.require(VM_TYPE, call.path["vm"])
    if call.query.get("$expand", "").lower() == "instanceview":
        vm["properties"]["instanceView"] = _instance_view(call, vm)
    return JSONResponse(vm)


def get_instance_view(call: Call) -> Response:
    """Return what the VM is doing."""
    return JSONResponse(_instance_view(call, call.require(VM_TYPE, call.path["vm"])))


def _instance_view(call: Call, vm: Document) -> Document:
    created = vm["properties"]["timeCreated"]
    machine = call.world.machines.get(str(vm["id"]))
    power = machine.power if machine else "running"
    return {
        "computerName": member(vm, "properties", "osProfile", "computerName") or vm["name"],
        "hyperVGeneration": "V2",
        "statuses": [
            {
                "code": "ProvisioningState/succeeded",
                "level": "Info",
                "displayStatus": "Provisioning succeeded",
                "time": created,
            },
            {"code": f"PowerState/{power}", "level": "Info", "displayStatus": f"VM {power}"},
        ],
    }


def list_vms(call: Call) -> Response:
    """Return the VMs of the group, or of the subscription."""
    if "group" in call.path:
        call.require_group()
    return JSONResponse({"value": call.resources(VM_TYPE, group="group" in call.path)})


def delete_vm(call: Call) -> Response:
    """Return 202 with an operation after the VM was deleted, 204 if it was not there."""
    with call.lock:
        call.require_group()
        vm = call.read(call.resource_id(VM_TYPE, call.path["vm"]))
        if vm is None:
            return Response(status_code=204)
        remove(call, vm)
    headers = finished(call, provider="Microsoft.Compute", location=vm["location"])
    return Response(status_code=202, headers=headers)


def remove(call: Call, vm: Document) -> None:
    """Delete a VM, its identity and its machine."""
    with call.world.store.transaction():
        remove_identity(call, vm)
        call.world.store.delete(ARM_KIND, str(vm["id"]).lower())
        managed_run_commands.remove_of_machine(call.world, str(vm["id"]))
        assignment.remove_within(call.world, str(vm["id"]))
    call.world.machines.delete(str(vm["id"]))
