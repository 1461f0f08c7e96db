"""Step 4: attest, release, unwrap. Pure: what it needs of the world comes through the ports, and `now` is given.

The steps, in order; each has artefacts, and each failure names its step:

1. collect   the attester reads its evidence: NV, report, certificates, quote, PCRs, event log, ephemeral key
2. appraise  the same checks that Azure Attestation makes, made locally, so that a refusal is no riddle; and one that
             it cannot make: that the report is over this nonce, and not one of before
3. attest    the provider answers with a token; guest attestation seals it to the ephemeral key in the vTPM
4. verify    the token's signature, issuer, times; then nonce and key: is this the answer to *our* question?
5. evaluate  the key's release policy against the verified claims: a value, yes or no, clause by clause
6. release   Key Vault does the same, wraps the key for the vTPM, signs its answer; the answer is verified
7. unwrap    the vTPM undoes the RSA part, AES-KWP the rest; the key is compared with the vault's public half
8. prove     the released key undoes what the vault's public key did
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from skrkit.artefact import Collector
from skrkit.attestation.verifier import AttestationResult, Evidence, verify_evidence
from skrkit.encoding import b64url_bytes
from skrkit.errors import ReleaseRefused, ServiceError, VerificationError
from skrkit.evidence.freshness import other_user_data
from skrkit.policy.evaluate import Decision, evaluate
from skrkit.release.ports import CollectedEvidence, EvidenceSource, Issued, KeyVault, TokenIssuer
from skrkit.release.proof import UNPROVED, Proof, prove
from skrkit.release.request import ReleaseRequest
from skrkit.release.response import VerifiedRelease, parse_release_response, verify_release
from skrkit.release.showing import (
    show_decision,
    show_evidence,
    show_issued,
    show_release,
    show_released_key,
    show_token,
)
from skrkit.release.unwrap import Enc, ReleasedKey, check_same_public_key, unwrap
from skrkit.token.decode import decode_jwt
from skrkit.token.envelope import open_envelope
from skrkit.token.verify import VerifiedToken, verify_token

if TYPE_CHECKING:
    from cryptography import x509

    from skrkit.endorsements.roots import TrustRoots
    from skrkit.policy.model import ReleasePolicy
    from skrkit.release.key_hsm import KeyHsm
    from skrkit.token.decode import UnverifiedToken
    from skrkit.token.jwks import Jwks
    from skrkit.wire import Json

ABOUT_ATTESTATION = "Target environment attestation"  # how Key Vault begins what is about the token
EPHEMERAL_KID = "TpmEphemeralEncryptionKey"
_NOT_FOR_THIS_KEY = ("TPM_RC_FAILURE", "TPM_RC_VALUE")
"""What TPMs answer to a ciphertext whose padding does not hold. Others give noise, which the next check names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """A verified token, what it was issued for, and what the local verifier said of the same evidence."""

    evidence: CollectedEvidence
    local: AttestationResult
    issued: Issued
    token: VerifiedToken


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is asked of the vault, and what its answer is held against. `version` empty means the latest.

    `host` is the vault's name, which the answer's certificate must carry; `roots` are the certificates that may
    stand at the top of its chain at `now`.
    """

    key: str
    version: str
    policy: ReleasePolicy
    enc: Enc
    nonce: str
    host: str
    roots: Sequence[x509.Certificate] = field(repr=False)
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A released key, the verified answer it came in, and the proof that it is the vault's."""

    key: ReleasedKey
    answer: VerifiedRelease = field(repr=False)
    proof: Proof


def attest(
    source: EvidenceSource,
    issuer: TokenIssuer,
    *,
    nonce: str,
    amd_roots: TrustRoots,
    now: datetime,
    made: Collector,
) -> Attested:
    """Return a verified token over fresh evidence: steps 1 to 4.

    Raises `VerificationError` with the step's id if the token is not the answer to this nonce and this key, and
    what the ports raise when they refuse. A failed local appraisal is shown, and MAA is asked all the same; but a
    report that is not over this nonce is refused here, step `hcl.user_data`: MAA does not know what it should hold.
    """
    user_data = hashlib.sha512(nonce.encode()).digest()
    evidence = source.collect(user_data=user_data)  # (1)
    local = verify_evidence(evidence_of(evidence), now=now, roots=amd_roots)  # (2)
    show_evidence(made, evidence, local)
    check_user_data(evidence.hcl_report, user_data)
    issued = issuer.attest(evidence, nonce=nonce)  # (3)
    show_issued(made, issued)
    token = issued.token
    if token is None:
        assert issued.envelope is not None, "an issuer answers with a token or an envelope"
        with opening("envelope.inner_key", "inner key of the sealed token", "/EncryptedInnerKey"):
            opened = open_envelope(issued.envelope, lambda sealed: source.decrypt(sealed, "rsaes"))
        token = decode_jwt(opened)
    verified = verify_token(token, jwks=_keys_for(token, issuer), issuer=issuer.issuer, now=now)  # (4)
    if issued.envelope is not None:
        check_guest_nonce(verified, nonce)
        check_transfer_key(verified, evidence.key_public)
    else:
        check_platform_nonce(verified, nonce)
    show_token(made, verified, sealed=issued.envelope is not None)
    return Attested(evidence=evidence, local=local, issued=issued, token=verified)


def _keys_for(token: UnverifiedToken, issuer: TokenIssuer) -> Jwks:
    """Return the provider's keys, asked for once more if the token names one that is not among those known."""
    known = issuer.signing_keys()
    kid = token.header.get("kid")
    return known if isinstance(kid, str) and known.with_kid(kid) else issuer.signing_keys(fresh=True)


def evidence_of(collected: CollectedEvidence) -> Evidence:
    """Return collected evidence as the local verifier takes it. The AK is the one in the runtime claims."""
    chain = collected.certificates["certificateChain"].encode()
    return Evidence(
        hcl=collected.hcl_report,
        vek=collected.certificates["vcekCert"].encode(),
        chain=chain,
        quote=collected.quote,
        quote_signature=collected.quote_signature,
        pcrs=dict(collected.pcrs),
        event_log=collected.event_log or None,
    )


def request_release(
    vault: KeyVault, token: VerifiedToken, terms: Terms, *, made: Collector | None = None
) -> VerifiedRelease:
    """Return the vault's answer, verified: steps 5 and 6. The key in it is still wrapped.

    Raises `ReleaseRefused` in the vault's words when it refuses, with the local decision's reason added;
    `VerificationError` when the answer does not hold.
    """
    decision = evaluate(terms.policy, token)  # (5)
    if made is not None:
        show_decision(made, decision)
    request = ReleaseRequest(target=token.raw.decode("ascii"), nonce=terms.nonce, enc=terms.enc)
    try:
        body = vault.release(terms.key, terms.version, request)  # (6)
    except ReleaseRefused as refused:
        if ABOUT_ATTESTATION not in refused.found:  # a permission, a disabled key: the policy has no part in it
            raise
        raise explained(refused, decision) from refused
    verified = verify_release(
        parse_release_response(body),
        roots=terms.roots,
        host=terms.host,
        enc=terms.enc,
        nonce=terms.nonce,
        now=terms.now,
    )
    if made is not None:
        show_release(made, request, verified, key=terms.key, version=terms.version)
    return verified


def open_release(
    source: EvidenceSource, vault: KeyVault, answer: VerifiedRelease, terms: Terms, *, made: Collector | None = None
) -> Released:
    """Return the released key out of a verified answer: steps 7 and 8.

    A symmetric key has no public half: its proof is `UNPROVED`, and `prove_symmetric` is for who can ask the HSM.
    Raises `VerificationError` when the key is wrapped for another key than the ephemeral one (step
    `release.transfer_key`, or `release.kek` where only the vTPM can tell) or is not the vault's, and what the vTPM
    raises when it cannot decrypt for another reason.
    """
    check_wrapped_for(answer.key_hsm)
    with opening("release.kek", "AES key of key_hsm", "/ciphertext, the first part"):
        kty = str(answer.key.get("kty"))
        key = unwrap(answer.key_hsm, lambda wrapped, enc: source.decrypt(wrapped, enc.tpm_scheme), kty=kty)  # (7)
    shown = vault.public_key(terms.key, terms.version)
    public = answer.key if shown is None else shown
    check_same_public_key(key, public)
    proof = prove(key, public) if key.private_key is not None else UNPROVED  # (8)
    if made is not None:
        show_released_key(made, key, public, proof, read_from_vault=shown is not None)
    return Released(key=key, answer=answer, proof=proof)


def explained(refused: ReleaseRefused, decision: Decision) -> ReleaseRefused:
    """Return the refusal with what the local evaluation of the same policy says of the same claims."""
    if decision.holds:
        reason = "Locally the policy holds: the vault's copy of it differs, or access or trust is missing."
    else:
        reason = "Locally the policy says no as well: " + "; ".join(reasons(decision))
    return ReleaseRefused(
        what=refused.what,
        where=refused.where,
        expected=refused.expected,
        found=refused.found,
        fix=f"{refused.fix} {reason}",
        source=refused.source,
    )


def reasons(decision: Decision) -> list[str]:
    """Return why a decision is no: each clause that does not hold, with what was expected and found."""
    said = [
        f"{leaf.claim} must be {leaf.expected!r}, found {leaf.found!r} ({leaf.hint})"
        if leaf.present
        else f"{leaf.claim}: {leaf.hint}"
        for leaf in decision.leaves()
        if not leaf.holds
    ]
    authorities = [child for child in decision.children if isinstance(child, Decision) and child.hint]
    return said or [f"authority {child.authority} does not apply: {child.hint}" for child in authorities]


@contextmanager
def opening(step: str, what: str, where: str) -> Iterator[None]:
    """Turn the vTPM's word that a ciphertext is not for its key into a `VerificationError` of this step.

    Its other refusals pass through: that a PCR has moved, that the key is gone.
    """
    try:
        yield
    except ServiceError as refused:
        if refused.code not in _NOT_FOR_THIS_KEY:
            raise
        raise VerificationError(
            step=step,
            what=what,
            where=where,
            expected="a ciphertext for the ephemeral key of this vTPM",
            found=f"one that the vTPM does not decrypt: {refused.what} answers {refused.code}",
            fix="Attest again, and use the answer in the same run: the ephemeral key lives no longer. If it stays so, "
            "somebody on the way encrypts for another key.",
            source=refused.source,
        ) from refused


def check_user_data(hcl_report: bytes, user_data: bytes) -> None:
    """Return nothing if the report is over this user data, 64 bytes, or of a paravisor that knows no user data."""
    found = other_user_data(hcl_report, user_data)
    if found:
        raise VerificationError(
            step="hcl.user_data",
            what="user data of the HCL report",
            where="runtime claims /user-data",
            expected=f"{user_data.hex()}, which was written to NV index 0x01400002",
            found=found.hex(),
            fix="Attest again: the report is of before. If it stays so, restart the VM; somebody may hold its reports "
            "back, or put in old ones.",
            source="Azure's paravisor (openvmm, tpm_device): the report is built anew when the guest reads it",
        )


def check_guest_nonce(token: VerifiedToken, nonce: str) -> None:
    """Return nothing if the token echoes this nonce: base64 text at `x-ms-runtime.client-payload.nonce`."""
    payload = _object(_object(token.claims.get("x-ms-runtime")).get("client-payload"))
    _same(
        "token.nonce",
        "/x-ms-runtime/client-payload/nonce",
        base64.b64encode(nonce.encode()).decode(),
        payload.get("nonce"),
    )


def check_platform_nonce(token: VerifiedToken, nonce: str) -> None:
    """Return nothing if the token echoes this nonce in its claim `nonce`."""
    _same("token.nonce", "/nonce", nonce, token.claims.get("nonce"))


def check_transfer_key(token: VerifiedToken, key_public: bytes) -> None:
    """Return nothing if the key that the vault will wrap for is the ephemeral key of this vTPM.

    `key_public` is TPM2B_PUBLIC. The vault takes the first suitable key of `x-ms-runtime.keys`.
    """
    from skrkit.tpm.public import parse_public

    modulus, _ = parse_public(key_public).rsa_numbers()
    keys = _object(token.claims.get("x-ms-runtime")).get("keys")
    first = _object(keys[0]) if isinstance(keys, list) and keys else {}
    where = "/x-ms-runtime/keys/0"
    fix = "Attest as a guest, from this VM: the token must carry its ephemeral key, for which the vault will wrap."
    _same("token.transfer_key", f"{where}/kid", EPHEMERAL_KID, first.get("kid"), fix)
    claimed = int.from_bytes(b64url_bytes(str(first.get("n", "")), what="transfer key n", where=f"{where}/n"), "big")
    if claimed != modulus:
        raise VerificationError(
            what="transfer key",
            where=f"{where}/n",
            expected="the modulus of the key certified in this vTPM",
            found="another modulus",
            fix="Attest again: this token belongs to another key, and nothing wrapped for it can be opened here.",
            step="token.transfer_key",
        )


def check_wrapped_for(key_hsm: KeyHsm) -> None:
    """Return nothing if the envelope says that it is for the ephemeral key, the only one that can open it here."""
    if key_hsm.kid != EPHEMERAL_KID:
        raise VerificationError(
            what="key_hsm",
            where="/header/kid",
            expected=EPHEMERAL_KID,
            found=key_hsm.kid,
            fix="Attest as a guest: the vault wraps for a key of the token, and only a guest token has this one.",
            step="release.transfer_key",
        )


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


_OTHER_QUESTION = "Attest again with a fresh nonce: this token answers another question."


def _same(step: str, where: str, expected: str, found: Json, fix: str = _OTHER_QUESTION) -> None:
    if found != expected:
        raise VerificationError(
            what="token claim",
            where=where,
            expected=repr(expected),
            found="nothing" if found is None else repr(found),
            fix=fix,
            step=step,
        )
