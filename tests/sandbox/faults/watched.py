"""What a VM sends to Azure Attestation and what comes back, kept as it was, whether or not it holds."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

from skrkit.attestation.verifier import AttestationResult, verify_evidence
from skrkit.cloud import Cloud
from skrkit.errors import SkrkitError
from skrkit.release.flow import evidence_of
from skrkit.release.ports import CollectedEvidence
from skrkit.services.attester import Attester
from skrkit.services.maa import GuestAttestation
from skrkit.services.rest import RestClient
from skrkit.token.envelope import open_envelope
from tests.sandbox.running import STAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Evidence, and the token that came back for it, not verified; or the error that came in its place."""

    evidence: CollectedEvidence
    local: AttestationResult
    token: str = field(default="", repr=False)
    error: SkrkitError | None = None


def attempt(cloud: Cloud) -> Attempt:
    """Collect evidence and send it. What cannot be collected raises."""
    inside, nonce = cloud.enter(STAGE.vm), secrets.token_hex(16)
    with Attester(inside) as attester, RestClient(inside) as rest:
        evidence = attester.collect(user_data=hashlib.sha512(nonce.encode()).digest())
        local = verify_evidence(evidence_of(evidence), now=cloud.now(), roots=cloud.amd_roots())
        try:
            issued = GuestAttestation(client=rest, issuer=STAGE.attestation).attest(evidence, nonce=nonce)
            assert issued.envelope is not None
            token = open_envelope(issued.envelope, lambda sealed: attester.decrypt(sealed, "rsaes"))
        except SkrkitError as error:
            return Attempt(evidence=evidence, local=local, error=error)
    return Attempt(evidence=evidence, local=local, token=token)


def failed_steps(attempted: Attempt) -> set[str]:
    """The ids of the steps that the local verifier fails on the evidence."""
    return {step.id for step in attempted.local.failed}
