"""One request to a vault, or a Managed HSM, as its handlers see it: which one, who calls, path, body."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from skrkit.sandbox.arm.call import ARM_KIND
from skrkit.sandbox.arm.vaults import VAULT_NAME_KIND
from skrkit.sandbox.vault.documents import Keys

if TYPE_CHECKING:
    from skrkit.sandbox.entra import Principal
    from skrkit.sandbox.world import World

# In order of age: what a key bundle shows grows with it. Both the previews and the dated ones are real.
API_VERSIONS = (
    "2016-10-01", "7.0", "7.1", "7.2", "7.3-preview", "7.3", "7.4", "7.5-preview.1", "7.5", "7.6-preview.1",
    "7.6-preview.2", "7.6", "2025-06-01-preview", "2025-07-01",
)  # fmt: skip
EXPORTABLE_FROM = "7.3-preview"
HSM_PLATFORM_FROM = "7.5"


def at_least(api_version: str, wanted: str) -> bool:
    """Return whether an api-version is `wanted` or younger."""
    return API_VERSIONS.index(api_version) >= API_VERSIONS.index(wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultResource:
    """A vault as its ARM resource says it is, read anew at every request: a grant works at once.

    A Managed HSM is one too, as far as its keys go: `HsmResource` says where it differs.
    """

    body: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The vault's name in lower case."""
        return str(self.body["name"]).lower()

    @property
    def region(self) -> str:
        """Where the vault is."""
        return str(self.body["location"])

    @property
    def properties(self) -> dict[str, Any]:
        """The ARM properties."""
        properties: dict[str, Any] = self.body["properties"]
        return properties

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end: what key ids begin with."""
        return f"https://{self.name}.vault.azure.net"

    @property
    def is_hsm(self) -> bool:
        """Whether this is a Managed HSM, which writes bundles, policies and releases in a way of its own."""
        return False

    @property
    def key_space(self) -> str:
        """What its keys are kept under: a vault and a Managed HSM may have one name."""
        return self.name

    @property
    def backup_key(self) -> bytes:
        """The AES key of its keys' backups, or nothing where it shares the sandbox's."""
        return b""

    @property
    def host(self) -> str:
        """The host name of its data plane."""
        return self.url.removeprefix("https://")

    @property
    def premium(self) -> bool:
        """Whether keys may live in an HSM."""
        return bool(self.properties["sku"]["name"] == "premium")

    @property
    def retention_days(self) -> int:
        """How long a deleted key can be recovered."""
        return int(self.properties["softDeleteRetentionInDays"])

    @property
    def purge_protected(self) -> bool:
        """Whether nobody may purge before that."""
        return bool(self.properties.get("enablePurgeProtection"))


def find_vault(world: World, name: str) -> VaultResource | None:
    """Return the live vault of that name, or None."""
    pointer = world.store.look(VAULT_NAME_KIND, name.lower())
    body = world.store.look(ARM_KIND, pointer["id"]) if pointer else None
    return VaultResource(body=body) if body else None


def vault_lock(world: World) -> threading.RLock:
    """Return the one lock of the sandbox's keys, which the control plane's keys take too."""
    lock: threading.RLock = world.cache.setdefault("vault-lock", threading.RLock())
    return lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that has passed authentication, api-version and authorisation. `lock` is held by whoever writes."""

    world: World
    vault: VaultResource
    caller: Principal
    api_version: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: dict[str, Any]
    lock: threading.RLock

    @property
    def keys(self) -> Keys:
        """The vault's keys."""
        return Keys(store=self.world.store, vault=self.vault.key_space)

    @property
    def name(self) -> str:
        """The key's name in the path."""
        return self.path["name"]

    @property
    def version(self) -> str:
        """The key's version in the path, or an empty text."""
        return self.path.get("version") or ""


Handler = Callable[[Call], Response]
