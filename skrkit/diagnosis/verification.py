"""The evidence and the token of a case, read and verified: what a recogniser holds a refusal against."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from skrkit.diagnosis.case import Case
from skrkit.errors import ParseError, SkrkitError, VerificationError
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.attestation.result import AttestationResult
    from skrkit.endorsements.roots import TrustRoots
    from skrkit.token.comparison import ClaimComparison
    from skrkit.token.decode import UnverifiedToken
    from skrkit.token.jwks import Jwks


def decoded_token(case: Case) -> UnverifiedToken | None:
    """Return the attestation token, not verified; None where there is none, or none that decodes."""
    from skrkit.token.decode import decode_jwt

    if not case.token:
        return None
    try:
        return decode_jwt(case.token.strip())
    except SkrkitError:
        return None


def claims_of(case: Case) -> Mapping[str, Json]:
    """Return the claims of the attestation token, of the token itself where it decodes. Empty where none are known."""
    token = decoded_token(case)
    return case.claims if token is None else token.claims


def pcrs_of(case: Case) -> dict[int, bytes] | None:
    """Return the SHA-256 PCR values of a case, None where there are none. Raises `ParseError` for odd ones."""
    from skrkit.evidence.pcrs import parse_pcrs

    data = case.evidence.get("pcrs")
    if not data:
        return None
    pcrs = parse_pcrs(data)
    if pcrs.bank != "sha256":
        raise ParseError(
            what="PCR values",
            where="pcrs",
            expected="values of the sha256 bank",
            found=pcrs.bank,
            fix="Read the bank that the quote is of: tpm2_pcrread sha256",
        )
    return dict(pcrs.values)


def compared_claims(case: Case) -> ClaimComparison | None:
    """Return the token's claims against the raw evidence, None without claims. Raises `ParseError` for odd PCRs."""
    from skrkit.token.comparison import ClaimEvidence, compare_claims

    claims, given = claims_of(case), case.evidence
    if not claims:
        return None
    evidence = ClaimEvidence(
        hcl=given.get("hcl-report", b""),
        quote=given.get("quote", b""),
        pcrs=pcrs_of(case) or {},
        event_log=given.get("event-log", b""),
        key_public=given.get("key-public", b""),
        nonce=case.asked.get("nonce", ""),
    )
    return compare_claims(claims, evidence)


def verified_evidence(case: Case) -> AttestationResult | None:
    """Return what the local verifier says of a case's evidence at the case's time.

    None without an HCL report or a time. The roots are AMD's, and for a case of the sandbox those that it names: they
    vouch for nothing outside of it.
    """
    files = case.evidence
    if case.at is None or not files.get("hcl-report"):
        return None
    from skrkit.attestation.verifier import Evidence, verify_evidence

    try:
        pcrs = pcrs_of(case)
    except SkrkitError:  # PCR values that are none prove nothing: the steps that need them are not checked
        pcrs = None
    evidence = Evidence(
        hcl=files["hcl-report"],
        vek=files.get("vcek"),
        chain=files.get("chain", b""),
        quote=files.get("quote"),
        quote_signature=files.get("quote-signature"),
        ak=files.get("ak-public"),
        pcrs=pcrs,
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
