"""The evidence and the token of a case, verified: what a recogniser holds a refusal against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from skrkit.diagnosis.case import Case
from skrkit.encoding import json_object
from skrkit.errors import SkrkitError

if TYPE_CHECKING:
    from skrkit.attestation.result import AttestationResult
    from skrkit.endorsements.roots import TrustRoots

_PCR_BYTES = 32
_MAX_PCRS = 24


def verified_evidence(case: Case) -> AttestationResult | None:
    """Return what the local verifier says of a case's evidence at the case's time.

    None without an HCL report or a time. The roots are those that the case names, else AMD's: a case is somebody's
    word, and so is what it says its roots are.
    """
    from skrkit.attestation.verifier import Evidence, verify_evidence

    files = case.evidence
    if case.at is None or not files.get("hcl-report"):
        return None
    evidence = Evidence(
        hcl=files["hcl-report"],
        vek=files.get("vcek"),
        chain=files.get("chain", b""),
        quote=files.get("quote"),
        quote_signature=files.get("quote-signature"),
        ak=files.get("ak-public"),
        pcrs=_pcrs(files.get("pcrs", b"")),
        event_log=files.get("event-log"),
    )
    try:
        return verify_evidence(evidence, now=case.at, roots=_roots(case))
    except SkrkitError:  # a time without a zone
        return None


def _roots(case: Case) -> TrustRoots:
    from skrkit.endorsements.roots import AMD_ROOTS, TrustRoots

    return TrustRoots(name=case.world or "this case", ark=dict(case.amd_roots)) if case.amd_roots else AMD_ROOTS


def _pcrs(document: bytes) -> Mapping[int, bytes] | None:
    """Return PCR values from their JSON, index to hex; None where there are none, or they are no such thing."""
    if not document:
        return None
    try:
        members = json_object(document, what="PCR values", where="pcrs")
        values = {int(index): bytes.fromhex(str(value)) for index, value in members.items()}
    except (SkrkitError, ValueError):
        return None
    good = len(values) <= _MAX_PCRS and all(len(value) == _PCR_BYTES for value in values.values())
    return values if good and all(0 <= index < _MAX_PCRS for index in values) else None
