"""What this machine says of itself without a TPM and without the network: maker, hypervisor, devices."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from skrkit.wire import Json

AZURE_CHASSIS = "7783-7084-3265-9085-8269-3286-77"  # the asset tag that Hyper-V gives every VM in Azure
MAX_TEXT = 256
TPM_DEVICES = ("/dev/tpmrm0", "/dev/tpm0")  # with the kernel's resource manager, and without


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine's own words. `tpm` is the device's path, or empty where there is none."""

    system: str
    architecture: str
    vendor: str = ""
    product: str = ""
    chassis: str = ""
    hypervisor: bool = False
    tpm: str = ""

    @property
    def in_azure(self) -> bool:
        """Whether the firmware says that this is a VM in Azure. A hint for people: anybody's hypervisor may say so."""
        return self.chassis == AZURE_CHASSIS

    @property
    def words(self) -> str:
        """The machine in a few words."""
        maker = " ".join(part for part in (self.vendor, self.product) if part)
        kind = "virtual machine" if self.hypervisor else "machine"
        return f"{self.system} on {self.architecture}, a {kind}{f' by {maker}' if maker else ''}"

    def to_json(self) -> dict[str, Json]:
        """Return the machine's words as JSON members."""
        return {
            "system": self.system,
            "architecture": self.architecture,
            "vendor": self.vendor,
            "product": self.product,
            "in_azure": self.in_azure,
            "hypervisor": self.hypervisor,
            "tpm": self.tpm,
        }


def host_of(root: Path = Path("/")) -> Host:
    """Return what this machine says of itself; `root` is where /sys, /proc and /dev are. Nothing needs rights."""
    dmi = root / "sys/class/dmi/id"
    devices = [device for device in TPM_DEVICES if (root / device.lstrip("/")).exists()]
    return Host(
        system=platform.system(),
        architecture=platform.machine(),
        vendor=_text(dmi / "sys_vendor"),
        product=_text(dmi / "product_name"),
        chassis=_text(dmi / "chassis_asset_tag"),
        hypervisor="hypervisor" in _flags(root / "proc/cpuinfo"),
        tpm=devices[0] if devices else ("tbs:" if os.name == "nt" else ""),
    )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_TEXT).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _flags(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            text = file.read(16 << 10).decode("ascii", "replace")
    except OSError:
        return []
    return next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
