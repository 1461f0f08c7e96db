"""A token of this world against the evidence it was made of, claim by claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skrkit.lab.display import Display, show
from skrkit.token.comparison import ClaimEvidence, compare_claims

if TYPE_CHECKING:
    from skrkit.release.flow import Attested


def token_against_evidence(attested: Attested) -> Display:
    """Return a display of each claim of a verified token: recomputed from the evidence, or why it cannot be.

    `attested` is `world.attested`, or what `release.flow.attest` returned.
    """
    evidence, request = attested.evidence, attested.issued.request
    asked = request if isinstance(request, dict) else {}
    given = ClaimEvidence(
        hcl=evidence.hcl_report,
        quote=evidence.quote,
        pcrs=evidence.pcrs,
        event_log=evidence.event_log,
        key_public=evidence.key_public,
        nonce=str(asked.get("nonce") or ""),
        request=asked,
    )
    return show(compare_claims(attested.token.claims, given), full=True)
