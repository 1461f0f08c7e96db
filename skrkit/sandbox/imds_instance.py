"""`/metadata/instance` of a VM: what the host says of it, every value a text, as IMDS has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from skrkit.sandbox.imds_storage import public_keys, storage_profile, text_of

if TYPE_CHECKING:
    from skrkit.sandbox.machine import Machine
    from skrkit.sandbox.store import Document


# Since when a member is there; the others have been from the start. Source: Azure's page of the metadata service.
SINCE = {
    "azEnvironment": "2018-10-01", "isHostCompatibilityLayerVm": "2020-06-01", "osProfile": "2020-07-15",
    "provider": "2018-10-01", "resourceGroupName": "2017-08-01", "subscriptionId": "2017-08-01",
    "resourceId": "2019-03-11", "securityProfile": "2020-06-01", "tags": "2017-08-01", "tagsList": "2019-06-04",
    "userData": "2021-01-01", "zone": "2017-12-01",
    "additionalCapabilities": "2021-11-01", "customData": "2019-02-01", "evictionPolicy": "2020-12-01",
    "extendedLocation": "2021-03-01", "licenseType": "2020-09-01", "physicalZone": "2023-11-15",
    "placementGroupId": "2017-08-01", "plan": "2018-04-02", "platformSubFaultDomain": "2021-10-01",
    "priority": "2020-12-01", "publicKeys": "2018-04-02", "storageProfile": "2019-06-01",
    "virtualMachineScaleSet": "2021-11-15", "vmScaleSetName": "2017-12-01",
    "securityProfile.encryptionAtHost": "2021-11-01", "securityProfile.securityType": "2021-12-13",
}  # fmt: skip


def instance_document(vm: Document, machine: Machine, version: str) -> dict[str, Any]:
    """Return `compute` and `network` for the ARM document of a VM (empty texts for what it does not say).

    All primitives are texts, numbers and booleans too; a member newer than `version` is absent.
    """
    interface = {
        "ipv4": {
            "ipAddress": [{"privateIpAddress": "10.0.0.4", "publicIpAddress": ""}],
            "subnet": [{"address": "10.0.0.0", "prefix": "24"}],
        },
        "ipv6": {"ipAddress": []},
        "macAddress": "000D3A000001",
    }
    return {"compute": _known(_compute(vm, machine), version), "network": {"interface": [interface]}}


def _known(members: dict[str, Any], version: str, parent: str = "") -> dict[str, Any]:
    return {
        name: _known(value, version, f"{name}.") if isinstance(value, dict) else value
        for name, value in members.items()
        if SINCE.get(parent + name, "") <= version
    }


def _compute(vm: Document, machine: Machine) -> dict[str, Any]:
    def said(*names: str, default: Any = "") -> str:
        found = _member(vm, "properties", *names)
        return text_of(default if found is None else found)

    resource_id = text_of(vm.get("id") or machine.resource_id)
    parts = resource_id.split("/")
    image = ("storageProfile", "imageReference")
    uefi = ("securityProfile", "uefiSettings")
    tags, zones = vm.get("tags"), vm.get("zones")
    tagged = {name: text_of(value) for name, value in tags.items()} if isinstance(tags, dict) else {}
    zone = text_of(zones[0]) if isinstance(zones, list) and zones else ""
    windows = _member(vm, "properties", "osProfile", "windowsConfiguration") is not None
    return {
        "azEnvironment": "AzurePublicCloud",
        "location": machine.region,
        "name": machine.name,
        "vmId": machine.vm_id,
        "vmSize": said("hardwareProfile", "vmSize"),
        "resourceId": resource_id,
        "resourceGroupName": parts[4] if len(parts) > 4 else "",
        "subscriptionId": parts[2] if len(parts) > 2 else "",
        "provider": "Microsoft.Compute",
        "osType": "Windows" if windows else "Linux",
        **{name: said(*image, name) for name in ("publisher", "offer", "sku", "version")},
        "isHostCompatibilityLayerVm": "true",
        "osProfile": {
            "adminUsername": said("osProfile", "adminUsername"),
            "computerName": said("osProfile", "computerName", default=machine.name),
            "disablePasswordAuthentication": ""
            if windows
            else said("osProfile", "linuxConfiguration", "disablePasswordAuthentication", default=False),
        },
        "securityProfile": {
            "secureBootEnabled": said(*uefi, "secureBootEnabled", default=machine.secure_boot),
            "virtualTpmEnabled": said(*uefi, "vTpmEnabled", default=True),
            "encryptionAtHost": said("securityProfile", "encryptionAtHost", default=False),
            "securityType": said("securityProfile", "securityType"),
        },
        "tags": ";".join(f"{name}:{value}" for name, value in tagged.items()),
        "tagsList": [{"name": name, "value": value} for name, value in tagged.items()],
        "userData": said("userData"),
        "zone": zone,
        "physicalZone": f"{machine.region}-AZ{zone}" if zone else "",
        **_placement(said),
        "plan": {name: text_of(_member(vm, "plan", name)) for name in ("name", "product", "publisher")},
        "publicKeys": public_keys(_member(vm, "properties", "osProfile", "linuxConfiguration", "ssh", "publicKeys")),
        "storageProfile": storage_profile(
            said, _member(vm, "properties", "storageProfile", "dataDisks"), system="Windows" if windows else "Linux"
        ),
    }


def _placement(said: Callable[..., str]) -> dict[str, Any]:
    """Return where a VM runs and for how long: alone, in no set, and nobody takes it away."""
    return {
        "additionalCapabilities": {
            "hibernationEnabled": said("additionalCapabilities", "hibernationEnabled", default=False)
        },
        "customData": "",  # userData has taken its place
        "evictionPolicy": said("evictionPolicy"),
        "extendedLocation": {"name": "", "type": ""},
        "licenseType": said("licenseType"),
        "placementGroupId": "",
        "platformFaultDomain": "0",
        "platformSubFaultDomain": "",
        "platformUpdateDomain": "0",
        "priority": said("priority"),
        "virtualMachineScaleSet": {"id": ""},
        "vmScaleSetName": "",
    }


def _member(document: Any, *names: str) -> Any:
    """Return a nested member, or None where a step of the way is missing or no object: ARM keeps what it was given."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document
