"""`storageProfile` and SSH keys of `/metadata/instance`: what a VM was made from, every value a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Said = Callable[..., str]
"""From the names of the way into a VM's `properties`, and `default`, to the text there."""


_IMAGE = (
    "id", "offer", "publisher", "sku", "version", "communityGalleryImageId", "sharedGalleryImageId", "exactVersion",
)  # fmt: skip


def storage_profile(said: Said, data_disks: Any, *, system: str) -> dict[str, Any]:
    """Return image, OS disk, data disks and local disk. `data_disks` is what the VM's resource has there.

    A size has a local disk or has not: that is not known here, and 0 is said (simplified).
    """
    image = ("storageProfile", "imageReference")

    def of_os_disk(*way: str, default: Any = "") -> str:
        return said("storageProfile", "osDisk", *way, default=default)

    return {
        "imageReference": {name: said(*image, name) for name in _IMAGE},
        "osDisk": {
            **_disk(of_os_disk),
            "encryptionSettings": {"enabled": "false"},
            "osType": of_os_disk("osType", default=system),
        },
        "dataDisks": [_data_disk(each) for each in data_disks] if isinstance(data_disks, list) else [],
        "resourceDisk": {"size": "0"},
    }


def public_keys(said: Any) -> list[dict[str, str]]:
    """Return the SSH keys that a VM was made with."""
    found = said if isinstance(said, list) else []
    return [{name: text_of(each.get(name)) for name in ("keyData", "path")} for each in found if isinstance(each, dict)]


def _data_disk(document: Any) -> dict[str, Any]:
    def said(*way: str, default: Any = "") -> str:
        value = document
        for name in way:
            value = value.get(name) if isinstance(value, dict) else None
        return text_of(default if value is None else value)

    return {**_disk(said), "isSharedDisk": "false", "isUltraDisk": "false", "lun": said("lun")}


def _disk(said: Said) -> dict[str, Any]:
    return {
        "caching": said("caching", default="None"),
        "createOption": said("createOption"),
        "diskSizeGB": said("diskSizeGB"),
        "image": {"uri": said("image", "uri")},
        "managedDisk": {name: said("managedDisk", name) for name in ("id", "storageAccountType")},
        "name": said("name"),
        "vhd": {"uri": said("vhd", "uri")},
        "writeAcceleratorEnabled": said("writeAcceleratorEnabled", default=False),
    }


def text_of(value: Any) -> str:
    """Return a value as IMDS writes it: nothing is an empty text, true and false are in lower case."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
