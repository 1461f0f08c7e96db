"""Faults between a client and a service: names, connections, certificates, throttling, outages."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from starlette.responses import JSONResponse, Response

from skrkit.sandbox.faults.fault import Fault
from skrkit.sandbox.web import AzureError

if TYPE_CHECKING:
    from skrkit.sandbox.tls import TlsAuthority
    from skrkit.sandbox.world import World

Trouble = Literal["", "name", "unreachable", "tls"]

INSPECTOR = "Example Inspecting Proxy"
_VAULT_SUFFIXES, _MAA_SUFFIX = (".vault.azure.net", ".managedhsm.azure.net"), ".attest.azure.net"
_RETRY_AFTER = {"Retry-After": "1"}


def tunnel_trouble(world: World, host: str) -> Trouble:
    """Return what is wrong with a connection to a host, or an empty text."""
    if host.endswith(_VAULT_SUFFIXES):
        if world.faulty("network.vault-name"):
            return "name"
        if world.faulty("network.vault-unreachable"):
            return "unreachable"
        return "tls" if world.faulty("network.vault-tls") else ""
    if host.endswith(_MAA_SUFFIX):
        if world.faulty("network.maa-name"):
            return "name"
        return "unreachable" if world.faulty("network.maa-unreachable") else ""
    return ""


def foreign_context(world: World, host: str) -> ssl.SSLContext:
    """Return the TLS server context of an inspecting proxy: a certificate for the host, by a CA that nobody trusts."""
    return foreign_authority(world).server_context(host)


def foreign_authority(world: World) -> TlsAuthority:
    """Return the CA of an inspecting proxy, made on the spot and kept nowhere. Nobody trusts it."""
    from skrkit.sandbox.store import Store
    from skrkit.sandbox.tls import TlsAuthority

    authority: TlsAuthority | None = world.cache.get("inspecting-ca")
    if authority is None:
        authority = TlsAuthority(Store(Path(":memory:")), lambda: datetime.now(UTC), name=INSPECTOR)
        world.cache["inspecting-ca"] = authority
    return authority


def check_throttle(world: World) -> None:
    """Raise `AzureError` 429 in place of a release. Observed answers of Key Vault have no Retry-After."""
    if world.faulty("network.vault-throttled"):
        raise throttled()


def throttled() -> AzureError:
    """Return the 429 of a vault that was asked too often."""
    return AzureError(
        429,
        "Throttled",
        "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached",
    )


def check_vault(world: World) -> None:
    """Raise `AzureError` 503 in place of any answer of a vault (code and words inferred)."""
    if world.faulty("network.vault-unavailable"):
        raise AzureError(503, "ServiceUnavailable", "The service is temporarily unavailable.")


def check_maa(world: World, *, attests: bool = False) -> None:
    """Raise `AzureError` 503 in place of any answer of a provider, or 429 where it `attests` (both inferred)."""
    if world.faulty("network.maa-unavailable"):
        raise AzureError(503, "ServiceUnavailable", "The service is temporarily unavailable.")
    if attests and world.faulty("network.maa-throttled"):
        raise AzureError(429, "TooManyRequests", "The request was throttled.", headers=_RETRY_AFTER)


def thim_unavailable() -> Response:
    """Return what stands in place of the host's AMD certificates (inferred)."""
    return JSONResponse({"error": "Service unavailable"}, 503, headers=_RETRY_AFTER)


def _network(name: str, title: str, does: str, *, step: int = 4) -> Fault:
    return Fault(name=f"network.{name}", group="network", title=title, does=does, step=step)


FAULTS: tuple[Fault, ...] = (
    _network(
        "vault-name",
        "The vault's name does not resolve",
        "The door answers CONNECT to any vault as a proxy does that cannot resolve the name.",
        step=3,
    ),
    _network(
        "vault-unreachable",
        "The vault cannot be reached",
        "Connections to any vault end without an answer, as behind a network security group.",
        step=3,
    ),
    _network(
        "vault-tls",
        "An inspecting proxy stands before the vault",
        "Any vault's certificate comes from another certificate authority, made on the spot.",
        step=3,
    ),
    _network(
        "vault-throttled",
        "The vault throttles releases",
        "Every release is answered 429: a vault allows ten creates and releases in ten seconds.",
    ),
    _network("vault-unavailable", "The vault is out of order", "Every request to a vault is answered 503.", step=3),
    _network(
        "maa-name",
        "The attestation provider's name does not resolve",
        "The door answers CONNECT to any provider as a proxy does that cannot resolve the name.",
    ),
    _network(
        "maa-unreachable",
        "The attestation provider cannot be reached",
        "Connections to any provider end without an answer, as behind a network security group.",
    ),
    _network("maa-throttled", "The attestation provider throttles", "Every attestation is answered 429."),
    _network("maa-unavailable", "The attestation provider is out of order", "Every request to it is answered 503."),
    _network(
        "thim-unavailable",
        "The host does not give its AMD certificates",
        "IMDS answers 503 where VCEK and chain are asked for; the rest of IMDS works.",
    ),
)
