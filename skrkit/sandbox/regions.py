"""Microsoft's shared attestation providers of the Azure public cloud: region, and the abbreviation in the host name.

Source: the region table of Azure/cvm-attestation-tools, as in attestation-and-imds.md 1.2. Data only.
"""

from __future__ import annotations

SHARED_PROVIDERS: dict[str, str] = {
    "australiacentral": "cau",
    "australiacentral2": "cau2",
    "australiaeast": "eau",
    "australiasoutheast": "sau",
    "austriaeast": "ate",
    "brazilsouth": "sbr",
    "brazilsoutheast": "sebr",
    "canadacentral": "cac",
    "canadaeast": "cae",
    "centralindia": "cin",
    "centralus": "cus",
    "centraluseuap": "cuse",
    "chilecentral": "clc",
    "eastasia": "easia",
    "eastus": "eus",
    "eastus2": "eus2",
    "eastus2euap": "eus2e",
    "francecentral": "frc",
    "francesouth": "frs",
    "germanynorth": "den",
    "germanywestcentral": "dewc",
    "israelcentral": "ilc",
    "italynorth": "itn",
    "japaneast": "jpe",
    "japanwest": "jpw",
    "jioindiacentral": "jinc",
    "jioindiawest": "jinw",
    "koreacentral": "krc",
    "koreasouth": "krs",
    "malaysiasouth": "mys",
    "mexicocentral": "mxc",
    "newzealandnorth": "nzn",
    "northcentralus": "ncus",
    "northeurope": "neu",
    "norwayeast": "noe",
    "norwaywest": "now",
    "polandcentral": "plc",
    "southafricanorth": "san",
    "southafricawest": "saw",
    "southcentralus": "scus",
    "southindia": "sin",
    "southeastasia": "sasia",
    "spaincentral": "esc",
    "swedencentral": "sec",
    "swedensouth": "ses",
    "switzerlandnorth": "swn",
    "switzerlandwest": "sww",
    "taiwannorth": "twn",
    "taiwannorthwest": "twnw",
    "uaecentral": "uaec",
    "uaenorth": "uaen",
    "uksouth": "uks",
    "ukwest": "ukw",
    "westcentralus": "wcus",
    "westeurope": "weu",
    "westindia": "win",
    "westus": "wus",
    "westus2": "wus2",
    "westus3": "wus3",
}
"""Region to abbreviation, 59 entries."""


def shared_provider_host(region: str) -> str | None:
    """Return the host name of a region's shared provider, or None for a region without one.

    `region` as ARM writes it, lower case without blanks: `westeurope` gives `sharedweu.weu.attest.azure.net`.
    """
    abbreviation = SHARED_PROVIDERS.get(region)
    return None if abbreviation is None else _host(abbreviation)


def is_shared_provider(host: str) -> bool:
    """Return whether a host name, lower case, is one of the shared providers."""
    abbreviation = host.partition(".")[0].removeprefix("shared")
    return abbreviation in SHARED_PROVIDERS.values() and host == _host(abbreviation)


def _host(abbreviation: str) -> str:
    return f"shared{abbreviation}.{abbreviation}.attest.azure.net"
