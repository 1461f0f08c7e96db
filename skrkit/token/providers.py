"""Who issues attestation tokens: the addresses of Azure Attestation, and Microsoft's shared provider of each region.

Source: the region table of Azure/cvm-attestation-tools. Data, and what can be read off a host name.
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
"""Region of the public cloud to the abbreviation in its host name, 59 entries."""

GOVERNMENT_PROVIDERS = frozenset({"sharedugv.ugv.attest.azure.us", "shareduga.uga.attest.azure.us"})
"""The shared providers of Azure Government: Virginia; Arizona and Texas."""

_GOVERNMENT_REGIONS = {
    "usgovvirginia": "sharedugv.ugv.attest.azure.us",
    "usgovarizona": "shareduga.uga.attest.azure.us",
    "usgovtexas": "shareduga.uga.attest.azure.us",
}

PUBLIC_SUFFIX = ".attest.azure.net"
ZONES = {
    PUBLIC_SUFFIX: "Azure's public cloud",
    ".attest.azure.us": "Azure Government",
    ".attest.azure.cn": "Azure China",
}
"""Where the providers of each cloud have their names. China's is expected; no provider there is known (inferred)."""


def shared_provider_host(region: str) -> str | None:
    """Return the host name of a region's shared provider, of Azure Government's too, or None where none is known.

    `region` as ARM writes it, lower case without blanks: `westeurope` gives `sharedweu.weu.attest.azure.net`.
    """
    abbreviation = SHARED_PROVIDERS.get(region)
    return _GOVERNMENT_REGIONS.get(region) if abbreviation is None else _host(abbreviation)


def is_shared_provider(host: str) -> bool:
    """Return whether a host name, lower case, is one of the public cloud's shared providers."""
    abbreviation = host.partition(".")[0].removeprefix("shared")
    return abbreviation in SHARED_PROVIDERS.values() and host == _host(abbreviation)


def _host(abbreviation: str) -> str:
    return f"shared{abbreviation}.{abbreviation}.attest.azure.net"


def is_maa_host(host: str) -> bool:
    """Return whether a host name, lower case, is in a zone of Azure Attestation: anybody's provider, in any cloud."""
    return host.endswith(tuple(ZONES))


def is_microsofts(host: str) -> bool:
    """Return whether a host name, lower case, is a provider that Microsoft runs for everybody, policy included.

    Everybody may create a provider `<name>.<region>.attest.azure.net`, whose attestation policy is then his own.
    """
    return is_shared_provider(host) or host in GOVERNMENT_PROVIDERS
