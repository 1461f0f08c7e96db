"""Azure Attestation: the provider, a real attestation, and what its token says."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from skrkit.doctor.check import NETWORK_LIMIT_S, Check, Outcome, failed, ok, skipped, warning
from skrkit.render.view import scalar

if TYPE_CHECKING:
    from skrkit.doctor.visit import Visit
    from skrkit.token.verify import VerifiedToken
    from skrkit.wire import Json

_COMPLIANT = "azure-compliant-cvm"


def _reachable(visit: Visit) -> Outcome:
    from skrkit.services.maa import fetch_signing_keys, provider_url
    from skrkit.services.rest import RestClient
    from skrkit.token.providers import is_maa_host, shared_provider_host

    if not visit.names.attestation:
        return skipped("No provider was named, and the region's is not known: --attestation https://…")
    issuer = provider_url(visit.names.attestation)
    host = urlsplit(issuer).hostname or ""
    with RestClient(visit.heard(visit.either_side)) as rest:
        keys = fetch_signing_keys(rest, issuer)
    visit.jwks = keys.raw
    said = f"{host} answers and publishes {len(keys.keys)} signing key{'' if len(keys.keys) == 1 else 's'}."
    facts: dict[str, Json] = {"provider": issuer, "keys": [key.kid for key in keys.keys]}
    if not is_maa_host(host):
        return warning(f"{said} It is no host of Azure Attestation.", facts, cause="policy.authority-typo")
    region = str(visit.instance.get("location") or "")
    own = shared_provider_host(region)
    elsewhere = f" It is not the shared provider of {region}, which is {own}." if own and own != host else ""
    return ok(said + elsewhere, facts)


def _attests(visit: Visit) -> Outcome:
    from skrkit.artefact import Collector
    from skrkit.doctor.kept import KeptIssuer, KeptSource, evidence_by_piece, evidence_files, raw_token
    from skrkit.release.flow import attest
    from skrkit.services.attester import Attester
    from skrkit.services.maa import GuestAttestation, provider_url
    from skrkit.services.rest import RestClient

    cloud = visit.vm_side
    heard = visit.heard(cloud)
    visit.attester.cloud = heard  # the vTPM stays open; its requests for certificates are heard as well
    with RestClient(heard) as rest:
        source = KeptSource(inner=visit.attester)
        issuer = KeptIssuer(inner=GuestAttestation(client=rest, issuer=provider_url(visit.names.attestation)))
        nonce = visit.nonce or cloud.make_nonce()
        try:
            made = Collector(4)
            attested = attest(source, issuer, nonce=nonce, amd_roots=cloud.amd_roots(), now=cloud.now(), made=made)
        finally:
            collected = source.collected
            visit.evidence = evidence_files(collected) if collected else evidence_by_piece(visit.attester)
            visit.raw_token = raw_token(source, issuer)
    assert isinstance(visit.attester, Attester)
    visit.attested = attested.token
    expires = attested.token.expires.isoformat(timespec="seconds")
    return ok(f"{attested.token.issuer} answered with a token for this nonce and this vTPM's key, until {expires}.")


def _claims(visit: Visit) -> Outcome:
    token = visit.attested
    assert token is not None, "this check needs maa.attests"
    found = claims_of_interest(token)
    said = ", ".join(f"{name.removeprefix('x-ms-')} {scalar(value)}" for name, value in found.items())
    if found["x-ms-attestation-type"] != "sevsnpvm":
        return failed(f"The TEE of the token is not SEV-SNP: {said}.", found, cause="policy.kind-of-token")
    if found["x-ms-sevsnpvm-is-debuggable"] is not False:
        return warning(f"The guest can be debugged: {said}.", found, cause="evidence.debug-vm")
    if found["x-ms-compliance-status"] != _COMPLIANT:
        return warning(f"Not {_COMPLIANT}: {said}.", found, cause="policy.compliance-status")
    return ok(f"{said}.", found)


def claims_of_interest(token: VerifiedToken) -> dict[str, Json]:
    """Return the claims that release policies ask for most: of the TEE, and of the boot."""
    tee = token.claims.get("x-ms-isolation-tee")
    names = (
        "x-ms-attestation-type",
        "x-ms-compliance-status",
        "x-ms-sevsnpvm-is-debuggable",
        "x-ms-sevsnpvm-vmpl",
        "x-ms-sevsnpvm-guestsvn",
    )
    found: dict[str, Json] = {name: tee.get(name) if isinstance(tee, dict) else None for name in names}
    return found | {"secureboot": token.claims.get("secureboot")}


REACHABLE = (
    Check(
        id="maa.reachable",
        title="Azure Attestation answers",
        proves="The provider's name resolves, its certificate is good, and it publishes its signing keys.",
        side="both",
        limit_s=NETWORK_LIMIT_S,
        run=_reachable,
    ),
)
CHECKS = (
    Check(
        id="maa.attests",
        title="A real attestation",
        proves="Azure Attestation takes this VM's evidence, and its token answers this nonce and this vTPM.",
        side="inside",
        needs=("event-log.replays", "imds.reachable", "maa.reachable"),
        limit_s=NETWORK_LIMIT_S,
        run=_attests,
    ),
    Check(
        id="maa.claims",
        title="What the token says",
        proves="The claims that release policies ask for are there, with the values of a production VM.",
        side="inside",
        needs=("maa.attests",),
        run=_claims,
    ),
)
