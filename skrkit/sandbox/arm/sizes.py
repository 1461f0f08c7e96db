"""Sizes of confidential VMs: which there are in a region, and how many of their vCPUs are in use.

Every region has them all, and nothing is refused for its quota. Sources: the pages of the DCasv5, DCadsv5, ECasv5,
ECadsv5, DCasv6 and ECasv6 series in Azure's documents.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from starlette.responses import JSONResponse, Response

from skrkit.sandbox.arm import errors
from skrkit.sandbox.arm.call import VM_TYPE, Call, Handler
from skrkit.sandbox.arm.machine_body import member
from skrkit.sandbox.store import Document
from skrkit.token.providers import SHARED_PROVIDERS

LIMIT = 100  # vCPUs of a family, and VMs: a subscription's own in Azure, and a number of the sandbox's here
_VCPUS = {"DC": (2, 4, 8, 16, 32, 48, 64, 96), "EC": (2, 4, 8, 16, 20, 32, 48, 64, 96)}
_GB_PER_VCPU = {"DC": 4, "EC": 8}
_MOST_GB = 672  # of an EC96: less than eight per vCPU
_SERIES = ("as_v5", "ads_v5", "as_v6", "ads_v6")
_FILTER = re.compile(r"location\s+eq\s+'([^']+)'", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One size: `line` is DC or EC, `series` what follows the number of vCPUs."""

    line: str
    vcpus: int
    series: str

    @property
    def name(self) -> str:
        """The size as a VM's body names it."""
        return f"Standard_{self.line}{self.vcpus}{self.series}"

    @property
    def family(self) -> str:
        """The family whose quota the size is counted in: standardDCASv5Family."""
        return f"standard{self.line}{self.series.replace('_', '').upper().replace('V', 'v')}Family"

    @property
    def memory_gb(self) -> int:
        """Its memory."""
        return min(self.vcpus * _GB_PER_VCPU[self.line], _MOST_GB)


SIZES = tuple(
    Size(line=line, vcpus=vcpus, series=series) for line in _VCPUS for series in _SERIES for vcpus in _VCPUS[line]
)
_BY_NAME = {size.name.lower(): size for size in SIZES}


def list_skus(call: Call) -> Response:
    """Return the sizes, each once a region; `$filter` may say `location eq '...'`."""
    expression = call.query.get("$filter", "").strip()
    regions: tuple[str, ...] = tuple(sorted(SHARED_PROVIDERS))
    if expression:
        match = _FILTER.fullmatch(expression)
        if match is None:
            raise errors.not_here(f"the filter {expression!r}: only location eq '...' is understood")
        regions = tuple(region for region in regions if region == match[1].lower().replace(" ", ""))
    return JSONResponse({"value": [_sku(size, region) for region in regions for size in SIZES]})


def _sku(size: Size, region: str) -> Document:
    capabilities = {
        "vCPUs": size.vcpus,
        "MemoryGB": size.memory_gb,
        "HyperVGenerations": "V2",
        "CpuArchitectureType": "x64",
        "ConfidentialComputingType": "SNP",
        "PremiumIO": True,
    }
    return {
        "resourceType": "virtualMachines",
        "name": size.name,
        "tier": "Standard",
        "size": size.name.removeprefix("Standard_"),
        "family": size.family,
        "locations": [region],
        "locationInfo": [{"location": region, "zones": []}],
        "capabilities": [{"name": name, "value": str(value)} for name, value in capabilities.items()],
        "restrictions": [],
    }


def list_usages(call: Call) -> Response:
    """Return how many VMs and vCPUs are in use in a region, whether they run or not. A limit holds nobody back."""
    region = call.path["location"].lower()
    used: Counter[str] = Counter()
    for vm in call.resources(VM_TYPE, group=False):
        size = _BY_NAME.get(str(member(vm, "properties", "hardwareProfile", "vmSize")).lower())
        if vm["location"] == region and size is not None:
            used["virtualMachines"] += 1
            used["cores"] += size.vcpus
            used[size.family] += size.vcpus
    return JSONResponse(
        {
            "value": [
                {
                    "unit": "Count",
                    "currentValue": used[value],
                    "limit": LIMIT,
                    "name": {"value": value, "localizedValue": words},
                }
                for value, words in _counted()
            ]
        }
    )


def _counted() -> Iterator[tuple[str, str]]:
    """Yield what is counted, by its name and in words (inferred for the families)."""
    yield "cores", "Total Regional vCPUs"
    yield "virtualMachines", "Virtual Machines"
    for family in dict.fromkeys(size.family for size in SIZES):
        yield family, f"Standard {family.removeprefix('standard').removesuffix('Family')} Family vCPUs"


_COMPUTE = "/subscriptions/{subscription}/providers/Microsoft.Compute"
ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", _COMPUTE + "/skus", "Microsoft.Compute/skus/read", list_skus),
    ("GET", _COMPUTE + "/locations/{location}/usages", "Microsoft.Compute/locations/usages/read", list_usages),
)
