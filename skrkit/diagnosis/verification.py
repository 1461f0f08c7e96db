"""The evidence and the token of a case, verified: what a recogniser holds a refusal against."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from skrkit.diagnosis.case import Case
from skrkit.encoding import json_object
from skrkit.errors import SkrkitError, VerificationError
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.attestation.result import AttestationResult
    from skrkit.endorsements.roots import TrustRoots
    from skrkit.token.decode import UnverifiedToken
    from skrkit.token.jwks import Jwks

_PCR_BYTES = 32
_MAX_PCRS = 24


def verified_evidence(case: Case) -> AttestationResult | None:
    """Return what the local verifier says of a case's evidence at the case's time.

    None without an HCL report or a time. The roots are AMD's, and for a case of the sandbox those that it names: they
    vouch for nothing outside of it.
    """
    files = case.evidence
    if case.at is None or not files.get("hcl-report"):
        return None
    from skrkit.attestation.verifier import Evidence, verify_evidence

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


def token_verdict(case: Case) -> dict[str, Json]:
    """Return what verifying a case's token says, at the case's time: `verdict` ok, failed or not-checked.

    A failure has the members of its error, the step among them; "token.truncated" is that of one that does not decode.
    Of a token of another issuer, `signed_by_authority` says whether a key of the configured one signed it all the same.
    """
    from skrkit.token.decode import decode_jwt
    from skrkit.token.jwks import parse_jwks
    from skrkit.token.verify import verify_token

    try:
        token = decode_jwt(case.token.strip())
    except SkrkitError as error:
        return {"verdict": "failed", **error.to_json(), "step": "token.truncated"}
    if not case.jwks or not case.authority or case.at is None:
        return {"verdict": "not-checked", "why": "the provider, its keys or the time are not known"}
    try:
        verified = verify_token(token, jwks=parse_jwks(case.jwks), issuer=case.authority, now=case.at)
    except VerificationError as error:
        failed: dict[str, Json] = {"verdict": "failed", **error.to_json()}
        if error.step == "token.issuer":
            failed["signed_by_authority"] = _signed_by(parse_jwks(case.jwks), token, case.at)
        return failed
    except SkrkitError as error:
        return {"verdict": "not-checked", "why": str(error)[:300]}
    return {"verdict": "ok", "key_id": verified.key_id, "issuer": verified.issuer, "at": case.at.isoformat()}


def _signed_by(keys: Jwks, token: UnverifiedToken, now: datetime) -> bool:
    from skrkit.token.verify import verify_token

    try:
        verify_token(token, jwks=keys, issuer=str(token.claims.get("iss")), now=now)
    except VerificationError as error:
        return error.step in ("token.times", "token.lifetime")
    except SkrkitError:  # an iss that is no URL
        return False
    return True


def _roots(case: Case) -> TrustRoots:
    from skrkit.endorsements.roots import AMD_ROOTS, TrustRoots

    named = case.world == "sandbox" and case.amd_roots
    return TrustRoots(name="sandbox", ark=dict(case.amd_roots)) if named else AMD_ROOTS


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
