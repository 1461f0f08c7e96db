"""`/metadata/instance` of a VM: what the host says of it, every value a text, as IMDS has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skrkit.sandbox.machine import Machine
    from skrkit.sandbox.store import Document


# Since when a member is there; the others have been from the start (IMDS reference, section 5.3).
SINCE = {
    "azEnvironment": "2018-10-01", "isHostCompatibilityLayerVm": "2020-06-01", "osProfile": "2020-07-15",
    "provider": "2018-10-01", "resourceGroupName": "2017-08-01", "subscriptionId": "2017-08-01",
    "resourceId": "2019-03-11", "securityProfile": "2020-06-01", "tags": "2017-08-01", "tagsList": "2019-06-04",
    "userData": "2021-01-01", "zone": "2017-12-01",
    "securityProfile.encryptionAtHost": "2021-11-01", "securityProfile.securityType": "2021-12-13",
}  # fmt: skip


def instance_document(vm: Document, machine: Machine, version: str) -> dict[str, Any]:
    """Return `compute` and `network` for the ARM document of a VM (empty texts for what it does not say).

    All primitives are texts, numbers and booleans too; a member newer than `version` is absent (IMDS reference,
    section 5.3).
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
    properties = vm.get("properties", {})
    resource_id = str(vm.get("id", machine.resource_id))
    parts = resource_id.split("/")
    image = properties.get("storageProfile", {}).get("imageReference", {})
    profile = properties.get("osProfile", {})
    security = properties.get("securityProfile", {})
    uefi = security.get("uefiSettings", {})
    return {
        "azEnvironment": "AzurePublicCloud",
        "location": machine.region,
        "name": machine.name,
        "vmId": machine.vm_id,
        "vmSize": str(properties.get("hardwareProfile", {}).get("vmSize", "")),
        "resourceId": resource_id,
        "resourceGroupName": parts[4] if len(parts) > 4 else "",
        "subscriptionId": parts[2] if len(parts) > 2 else "",
        "provider": "Microsoft.Compute",
        "osType": "Windows" if "windowsConfiguration" in profile else "Linux",
        "publisher": str(image.get("publisher", "")),
        "offer": str(image.get("offer", "")),
        "sku": str(image.get("sku", "")),
        "version": str(image.get("version", "")),
        "isHostCompatibilityLayerVm": "true",
        "osProfile": {
            "adminUsername": str(profile.get("adminUsername", "")),
            "computerName": str(profile.get("computerName", machine.name)),
            "disablePasswordAuthentication": _text(
                profile.get("linuxConfiguration", {}).get("disablePasswordAuthentication", False)
            ),
        },
        "securityProfile": {
            "secureBootEnabled": _text(uefi.get("secureBootEnabled", machine.secure_boot)),
            "virtualTpmEnabled": _text(uefi.get("vTpmEnabled", True)),
            "encryptionAtHost": _text(security.get("encryptionAtHost", False)),
            "securityType": str(security.get("securityType", "")),
        },
        "tags": ";".join(f"{name}:{value}" for name, value in vm.get("tags", {}).items()),
        "tagsList": [{"name": name, "value": str(value)} for name, value in vm.get("tags", {}).items()],
        "userData": str(properties.get("userData", "")),
        "zone": "".join(vm.get("zones", [])),
    }


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
