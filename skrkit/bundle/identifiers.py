"""Identifiers: what in a case names somebody's tenant, machine, vault, key or address, and the pseudonym of each.

One identifier has one pseudonym throughout a bundle, in whatever letter case it stands, so that comparisons hold as
before. A pseudonym has the form of what it replaces: a GUID stays a GUID, an address an address.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from skrkit.wire import Json

_GUID = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_PART = r"([^/?#\s\"'<>&;,)(]+)"
_RESOURCES = "|".join(
    (
        "networkInterfaces", "disks", "publicIPAddresses", "virtualNetworks", "subnets", "networkSecurityGroups",
        "privateEndpoints", "diskEncryptionSets", "availabilitySets", "virtualMachineScaleSets", "storageAccounts",
    )
)  # fmt: skip
# What a match's first group is, and its kind. Resource ids, host names, addresses: the same everywhere in Azure.
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("guid", rf"(?<![0-9A-Za-z-])({_GUID})(?![0-9A-Za-z-])"),
        ("group", rf"/resourceGroups/{_PART}"),
        ("vm", rf"/virtualMachines/{_PART}"),
        ("vault", rf"/(?:vaults|managedHSMs|deletedVaults|locations/[^/]+/deletedVaults)/{_PART}"),
        ("identity", rf"/userAssignedIdentities/{_PART}"),
        ("resource", rf"/(?:{_RESOURCES})/{_PART}"),
        ("vault", r"(?<![A-Za-z0-9.-])([A-Za-z0-9-]+)\.(?:vault|managedhsm|privatelink\.vaultcore)\.azure\.net"),
        ("provider", r"(?<![A-Za-z0-9.-])(?!shared[a-z0-9]+\.)([A-Za-z0-9-]+)\.[a-z0-9]+\.attest\.azure\.net"),
        ("resource", r"(?<![A-Za-z0-9.-])([a-z0-9]{3,24})\.(?:blob|table|queue|file)\.core\.windows\.net"),
        ("tenant", r"(?<![A-Za-z0-9.-])([A-Za-z0-9-]+)\.onmicrosoft\.com"),
        ("key", r"\.azure\.net(?::443)?/keys/([A-Za-z0-9-]+)"),
        ("key", r"(?<![A-Za-z0-9])/(?:deleted)?keys/([A-Za-z0-9-]+)(?=/[0-9a-f]{32}|/release)"),
        ("version", r"/keys/[A-Za-z0-9-]+/([0-9a-f]{32})(?![0-9a-f])"),
        ("user", r"(?<![A-Za-z0-9._%+-])([A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)"),
        ("user", r"(?<![A-Za-z0-9])/(?:home|Users)/([A-Za-z0-9._-]+)"),
        ("user", r"[A-Za-z]:\\{1,2}Users\\{1,2}([A-Za-z0-9._-]+)"),
        ("mac", r"(?<![0-9A-Fa-f:-])((?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2})(?![0-9A-Fa-f:-])"),
    )
)
_IPV4 = re.compile(r"(?<![0-9.])((?:[0-9]{1,3}\.){3}[0-9]{1,3})(?![0-9.])")
_IPV6 = re.compile(r"(?<![0-9A-Za-z:.])((?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4})(?![0-9A-Za-z:.])")
# Members that hold a name by themselves, in ARM's and IMDS's documents, in tokens and in what a client asked for.
_MEMBERS: Mapping[str, str] = {
    "vault": "vault", "key": "key", "vm": "vm", "resource_group": "group", "resourcegroupname": "group",
    "version": "version", "vmscalesetname": "resource", "computername": "host", "adminusername": "user",
    "keydata": "opaque", "upn": "user", "unique_name": "user", "preferred_username": "user", "given_name": "user",
    "family_name": "user", "email": "user", "sub": "opaque", "uti": "opaque", "aio": "opaque", "rh": "opaque",
    "puid": "opaque", "onprem_sid": "opaque", "customdata": "opaque", "userdata": "opaque",
}  # fmt: skip
_HEX_VERSION = re.compile(r"[0-9a-f]{32}")

KEPT_GUIDS = frozenset(
    {
        "00000000-0000-0000-0000-000000000000",
        # Azure's built-in roles, the same in every tenant. Source: Azure built-in roles; Managed HSM built-in roles.
        "00482a5a-887f-4fb3-b363-3b7fe8e74483",
        "14b46e9e-c2b7-41b4-b07b-48a6ebf60603",
        "12338af0-0e69-4776-bea7-57ae8d297424",
        "08bbd89e-9f13-488c-ac41-acfcb10c90ab",
        "e147488a-f6f5-4113-8e2d-b22465e65bf6",
        "21090545-7ca7-4776-b22c-e363652d74d2",
        "21dbd100-6940-42c2-9190-5d6cb909625b",
        "515eb02d-2335-4d2d-92f2-b1cbdf9c3778",
        "cfa8b339-82a2-471a-a3c9-0fc0be7a4093",  # the application id of Key Vault itself
        "1734c6e8-3154-4dda-ba5f-a874cc483422",  # the secure boot template of a Microsoft Windows guest
    }
)
_KEPT_ADDRESSES = frozenset({"169.254.169.254", "168.63.129.16"})  # IMDS and the platform, the same in every VM
# Words of the protocols. A key or a VM may be called so; the word elsewhere must stay what it is.
_WORDS = frozenset(
    {
        "api", "api-version", "attest", "azure", "azurevm", "backup", "claim", "claims", "com", "compute", "create",
        "cvm", "decrypt", "default", "delete", "encrypt", "false", "get", "hsm", "http", "https", "identity", "import",
        "key", "keys", "keyvault", "linux", "list", "locations", "managedhsm", "metadata", "microsoft", "name", "net",
        "network", "none", "oct", "policy", "premium", "private", "providers", "public", "purge", "recover", "release",
        "resourcegroups", "restore", "rsa", "secret", "sevsnpvm", "sign", "standard", "subscriptions", "system", "test",
        "token", "true", "ubuntu", "update", "user", "vault", "vaults", "verify", "version", "virtualmachines", "vm",
        "windows", "world", "wrapkey", "unwrapkey",
    }
)  # fmt: skip


@dataclass(slots=True)
class Pseudonyms:
    """The identifiers found so far and the pseudonym of each. `kept` (lower case) stay as they are."""

    kept: frozenset[str] = frozenset()
    of: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    _compiled: tuple[int, re.Pattern[str] | None] = (0, None)

    def learn(self, value: Json) -> None:
        """Take note of every identifier in a JSON value, its member names included."""
        for name, text in _texts(value):
            for kind, found in _found(text):
                self._add(kind, found)
            kind = _MEMBERS.get(name.lower(), "")
            if kind and text and (kind != "version" or _HEX_VERSION.fullmatch(text)) and not text.startswith("<"):
                self._add(kind, text)

    def name(self, kind: str, text: str) -> None:
        """Take note of a name that stands where no pattern would see it."""
        if text:
            self._add(kind, text)

    def _add(self, kind: str, text: str) -> None:
        low = text.lower()
        if low in self.of or low in self.kept or low in KEPT_GUIDS or low in _KEPT_ADDRESSES or "{" in low:
            return
        while True:
            number = self.counts[kind] = self.counts.get(kind, 0) + 1
            pseudonym = _form(kind, number)
            if pseudonym not in self.of:
                break
        self.of[low] = pseudonym

    def pattern(self) -> re.Pattern[str] | None:
        """Return the pattern of every identifier that is replaced wherever it stands, or None when there is none."""
        if self._compiled[0] != len(self.of):
            loose = sorted((text for text in self.of if text not in _WORDS), key=lambda text: (-len(text), text))
            known = "|".join(map(re.escape, loose)) or "(?!)"
            compiled = re.compile(rf"(?<![A-Za-z0-9])(?:{known})(?![A-Za-z0-9])", re.IGNORECASE)
            self._compiled = (len(self.of), compiled)
        return self._compiled[1]

    def structured(self, text: str) -> str:
        """Return the text with names replaced where the place says what they are: in a resource id, URL or host."""

        def replaced(match: re.Match[str]) -> str:
            pseudonym = self.of.get(match[1].lower())
            if pseudonym is None:
                return match[0]
            start, end = match.start(1) - match.start(), match.end(1) - match.start()
            return match[0][:start] + pseudonym + match[0][end:]

        for _, pattern in _PATTERNS[1:]:
            text = pattern.sub(replaced, text)
        return text

    def member(self, name: str, text: str) -> str | None:
        """Return the pseudonym of a value whose member says that it is a name, or None."""
        return self.of.get(text.lower()) if _MEMBERS.get(name.lower()) else None


def _found(text: str) -> Iterator[tuple[str, str]]:
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            yield kind, match[1]
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(text):
            try:
                address = ipaddress.ip_address(match[1])
            except ValueError:
                continue
            if not address.is_loopback and not address.is_unspecified:
                yield f"ipv{address.version}", match[1]


def _texts(value: Json, name: str = "") -> Iterator[tuple[str, str]]:
    """Return every text with the name of its member; names themselves where they hold a path or a GUID."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield "", key
            yield from _texts(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, name)
    elif isinstance(value, str):
        yield name, value


def _form(kind: str, number: int) -> str:
    if kind == "guid":
        return f"00000000-0000-0000-0000-{number:012d}"
    if kind == "version":
        return f"{number:032d}"
    if kind == "ipv4":
        return f"192.0.2.{number}" if number < 255 else f"198.51.{number // 255}.{number % 255}"
    if kind == "ipv6":
        return f"2001:db8::{number:x}"
    if kind == "mac":
        return f"00:00:5e:00:53:{number % 256:02x}"
    if kind == "user":
        return f"user-{number}"
    return f"{kind}-{number}"


def words_of(kinds: Iterable[str]) -> str:
    """Return kinds of identifiers as a reader calls them."""
    names = {"guid": "ids", "ipv4": "addresses", "ipv6": "addresses", "group": "resource groups", "opaque": "subjects"}
    return ", ".join(sorted({names.get(kind, f"{kind} names") for kind in kinds}))
