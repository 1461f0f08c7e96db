"""A Managed HSM as its data plane sees it: a vault for keys, with a security domain and roles of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skrkit.encoding import b64url, b64url_bytes
from skrkit.sandbox.arm.call import ARM_KIND
from skrkit.sandbox.vault.call import VaultResource

if TYPE_CHECKING:
    from skrkit.sandbox.world import World

HSM_TYPE = "Microsoft.KeyVault/managedHSMs"
HSM_NAME_KIND = "hsm-name"  # name in lower case -> {"id": resource id}
DOMAIN_KIND = "hsm-domain"  # name in lower case -> {"key"}: the security domain's key, from activation on
SETTING_KIND = "hsm-setting"  # name in lower case -> values by the setting's name
JOB_KIND = "hsm-job"  # name in lower case and job's id -> {"kind", "folder", "shown"}: a backup or a restore
SUFFIX = ".managedhsm.azure.net"
_SPACE = "hsm:"  # no name of a vault has a colon


def key_space(name: str) -> str:
    """Return what the keys of the Managed HSM of that name are kept under."""
    return f"{_SPACE}{name.lower()}"


def is_hsm(space: str) -> bool:
    """Return whether keys are kept under this in a Managed HSM, and not in a vault."""
    return space.startswith(_SPACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class HsmResource(VaultResource):
    """A Managed HSM. `domain_key` is its security domain's, empty before it is activated."""

    domain_key: bytes = field(default=b"", repr=False)

    @property
    def is_hsm(self) -> bool:
        """True: this is a Managed HSM."""
        return True

    @property
    def key_space(self) -> str:
        """What its keys are kept under."""
        return key_space(self.name)

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end."""
        return f"https://{self.name}{SUFFIX}"

    @property
    def premium(self) -> bool:
        """True: all its keys live in an HSM."""
        return True

    @property
    def backup_key(self) -> bytes:
        """The AES key of its keys' backups: they are restored where the security domain is the same."""
        return self.domain_key

    @property
    def activated(self) -> bool:
        """Whether it has a security domain, without which the data plane does nothing else than give it out."""
        return bool(self.domain_key)


def find_hsm(world: World, name: str) -> HsmResource | None:
    """Return the live Managed HSM of that name, or None."""
    pointer = world.store.get(HSM_NAME_KIND, name.lower())
    body = world.store.get(ARM_KIND, pointer["id"]) if pointer else None
    return HsmResource(body=body, domain_key=_domain_key(world, name)) if body else None


def _domain_key(world: World, name: str) -> bytes:
    document = world.store.get(DOMAIN_KIND, name.lower())
    return b64url_bytes(document["key"], what="security domain key", where="/key") if document else b""


def activate(world: World, hsm: HsmResource, domain_key: bytes) -> None:
    """Give a Managed HSM its security domain: from now on it has keys and roles."""
    body = dict(hsm.body) | {"properties": hsm.properties | {"securityDomainProperties": activation(active=True)}}
    with world.store.transaction():
        world.store.put(DOMAIN_KIND, hsm.name, {"key": b64url(domain_key)})
        world.store.put(ARM_KIND, str(hsm.body["id"]).lower(), body)


def activation(*, active: bool) -> dict[str, str]:
    """Return the ARM member `securityDomainProperties`; the words are not known to the letter (inferred)."""
    if active:
        return {"activationStatus": "Active", "activationStatusMessage": "Your HSM has been activated."}
    return {
        "activationStatus": "NotActivated",
        "activationStatusMessage": "Your HSM has been provisioned, but not activated. Download its security domain.",
    }
