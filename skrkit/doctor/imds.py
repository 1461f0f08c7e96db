"""IMDS from inside the VM: that it answers without a proxy in its way, and which identity it gives out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from skrkit.doctor.check import NETWORK_LIMIT_S, Check, Outcome, failed, ok, warning
from skrkit.endpoints import CLOUDS

if TYPE_CHECKING:
    from skrkit.doctor.visit import Visit
    from skrkit.endpoints import Endpoints
    from skrkit.wire import Json

IMDS_HOST = "169.254.169.254"
VAULT_APP = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"  # Key Vault's application id, an audience that it takes too
_SOON_S = 300  # a token with less left is taken for expired by the SDKs


def _reachable(visit: Visit) -> Outcome:
    from dataclasses import replace

    from skrkit.services.imds import fetch_instance

    compute = fetch_instance(visit.heard(visit.vm_side)).get("compute")
    visit.instance = compute if isinstance(compute, dict) else {}
    visit.names = replace(visit.names, **_names(visit))
    facts: dict[str, Json] = {
        name: visit.instance.get(name)
        for name in ("name", "resourceGroupName", "location", "vmSize", "vmId", "azEnvironment")
    }
    profile = visit.instance.get("securityProfile")
    security = str(profile.get("securityType") or "") if isinstance(profile, dict) else ""
    facts["security_type"] = security
    said = f"IMDS answers: {facts['name']}, {facts['vmSize']} in {facts['location']}, {security or 'no security type'}."
    other = other_cloud(visit.vm_side.endpoints, str(facts["azEnvironment"] or ""))
    if other is not None:
        return warning(
            f"{said} It is in {other.title}, and the addresses here are of {visit.vm_side.endpoints.title}.",
            facts,
            fix=f"skrkit doctor --azure-cloud {other.name}",
        )
    proxy = proxy_in_the_way(os.environ) if visit.vm_side.world == "azure" else ""
    if proxy:
        return warning(
            f"{said} The environment sends other clients to the proxy {proxy} for it, azure-identity among them.",
            facts,
            fix=f"export NO_PROXY={','.join(filter(None, (os.environ.get('NO_PROXY'), IMDS_HOST)))}",
            cause="identity.imds-proxied",
        )
    return ok(said, facts)


def _names(visit: Visit) -> dict[str, str]:
    """Return the names that were not given and that IMDS knows: the VM's own, and its region's provider."""
    from skrkit.token.providers import shared_provider_host

    host = shared_provider_host(str(visit.instance.get("location") or ""))
    known = {
        "vm": str(visit.instance.get("name") or ""),
        "resource_group": str(visit.instance.get("resourceGroupName") or ""),
        "attestation": f"https://{host}" if host else "",
    }
    return {name: value for name, value in known.items() if value and not getattr(visit.names, name)}


def other_cloud(endpoints: Endpoints, environment: str) -> Endpoints | None:
    """Return the cloud that IMDS's `azEnvironment` names, in any case, if it is another one; None for no such name."""
    named = (each for each in CLOUDS.values() if each.imds_environment.lower() == environment.lower())
    found = next(named, None)
    return None if found is None or found.name == endpoints.name else found


def proxy_in_the_way(environ: Mapping[str, str]) -> str:
    """Return the proxy that this environment puts before IMDS, without its password, or an empty text.

    NO_PROXY is a list of host names, or `*`; that it may hold a network (169.254.0.0/16) is requests' own rule, and
    azure-identity goes by it.
    """
    from urllib.parse import urlsplit

    def named(name: str) -> str:
        return environ.get(f"{name}_proxy") or environ.get(f"{name.upper()}_PROXY") or ""

    proxy = named("http") or named("all")
    if not proxy or _is_exempt(named("no")):
        return ""
    parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    try:
        return f"{parts.hostname or '(no host)'}:{parts.port}" if parts.port else parts.hostname or "(no host)"
    except ValueError:  # a port that is no number
        return parts.hostname or "(no host)"


def _is_exempt(no_proxy: str) -> bool:
    from ipaddress import ip_address, ip_network

    for entry in (part.strip() for part in no_proxy.split(",")):
        if entry in ("*", IMDS_HOST):
            return True
        try:
            if "/" in entry and ip_address(IMDS_HOST) in ip_network(entry, strict=False):
                return True
        except ValueError:  # a host name, or nothing that anybody reads
            continue
    return False


def _identity(visit: Visit) -> Outcome:
    from skrkit.services.identities import identity_in
    from skrkit.services.imds import fetch_token
    from skrkit.token.decode import decode_jwt

    cloud = visit.heard(visit.vm_side)
    visit.vault_token = fetch_token(cloud, f"https://{visit.vault_audience()}")
    visit.access_token = claims = decode_jwt(visit.vault_token).claims
    issued = claims.get("iat")
    if isinstance(issued, int):
        visit.issued.append(("IMDS, by the token's iat", datetime.fromtimestamp(issued, UTC)))
    found = identity_in(claims)
    asked = ", asked for by its resource id" if cloud.identity else ""
    said = f"IMDS gives out the VM's {found.kind} identity{asked}: object id {found.object_id}, client id "
    return ok(f"{said}{found.client_id}.", found.to_json())


def _access_token(visit: Visit) -> Outcome:
    claims, cloud = visit.access_token, visit.vm_side
    audience, expected = str(claims.get("aud") or ""), f"https://{visit.vault_audience()}"
    taken = (expected,) if visit.names.hsm else (expected, VAULT_APP)
    facts: dict[str, Json] = {name: claims.get(name) for name in ("aud", "iss", "tid", "oid", "exp")}
    facts["roles"] = claims.get("roles") or []
    if audience.removesuffix("/") not in taken:
        said = f"The token is for {audience or 'nobody'}; the {visit.holder} takes {expected} alone."
        return failed(said, facts, cause="access-token.wrong-audience")
    tenant = str(claims.get("tid") or "")
    if cloud.tenant and tenant.lower() != cloud.tenant.lower():
        said = f"The token is of tenant {tenant}, and yours is {cloud.tenant}."
        return failed(said, facts, cause="access-token.wrong-tenant")
    expires = claims.get("exp")
    if not isinstance(expires, int):
        return failed("The token says no time of expiry.", facts, cause="access-token.expired")
    left = expires - int(cloud.now().timestamp())
    until = datetime.fromtimestamp(expires, UTC).isoformat(timespec="seconds")
    if left <= 0:
        return failed(f"The token has expired at {until}.", facts, cause="access-token.expired")
    said = f"For {audience}, of tenant {tenant}, until {until}; roles: none needed, the {visit.holder} looks at oid."
    if left < _SOON_S:
        return warning(f"{said} Only {left} s are left.", facts, cause="access-token.expired")
    return ok(said, facts)


REACHABLE = (
    Check(
        id="imds.reachable",
        title="IMDS answers",
        proves="The host's metadata service answers this VM, and no proxy stands between.",
        side="inside",
        needs=("machine.kind",),
        limit_s=NETWORK_LIMIT_S,
        run=_reachable,
    ),
)
CHECKS = (
    Check(
        id="identity.token",
        title="The VM has an identity",
        proves="IMDS gives a token to any program in this VM: it has an identity, and only one fits.",
        side="inside",
        needs=("imds.reachable",),
        limit_s=NETWORK_LIMIT_S,
        run=_identity,
    ),
    Check(
        id="access-token.fits",
        title="The access token fits the vault",
        proves="The token's audience, tenant and lifetime are what the vault, or Managed HSM, asks for.",
        side="inside",
        needs=("identity.token",),
        run=_access_token,
    ),
)
