"""The artefacts of step 4, each with the sentence that says what it proves. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from skrkit.artefact import Collector
from skrkit.endorsements.vek import parse_certificates, parse_vek
from skrkit.evidence.eventlog import parse_event_log
from skrkit.evidence.hcl import parse_hcl_report
from skrkit.tpm.attest import parse_attest
from skrkit.tpm.public import parse_public
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.attestation.verifier import AttestationResult
    from skrkit.policy.evaluate import Decision
    from skrkit.release.ports import CollectedEvidence, Issued
    from skrkit.release.proof import Proof
    from skrkit.release.request import ReleaseRequest
    from skrkit.release.response import VerifiedRelease
    from skrkit.release.unwrap import ReleasedKey
    from skrkit.token.verify import VerifiedToken

_HEAD_BYTES = 32
_TOKEN_CLAIMS = (
    "claims.x-ms-isolation-tee.x-ms-compliance-status",
    "claims.x-ms-runtime.client-payload.nonce",
    "claims.x-ms-runtime.keys",
)


def show_evidence(made: Collector, evidence: CollectedEvidence, local: AttestationResult) -> None:
    """Add what the attester read, and what the local verifier says of it."""
    _show_report(made, evidence)
    _show_certificates(made, evidence)
    _show_tpm(made, evidence)
    _show_ephemeral_key(made, evidence)
    made.add(
        "local-verification",
        "The same evidence, verified here",
        local,
        proves=f"Every step that Azure Attestation takes was taken here first, against the roots of: {local.root}.",
        next="If MAA refuses what holds here, the difference is in MAA's policy, not in the evidence.",
    )


def _show_report(made: Collector, evidence: CollectedEvidence) -> None:
    raw = evidence.hcl_report
    hcl = parse_hcl_report(raw)
    used = len(raw.rstrip(b"\0"))
    made.add(
        "nv-bytes",
        "NV index 0x01400001, as the vTPM gave it",
        {"index": "0x01400001", "size": len(raw), "used": used, "begins": raw[:_HEAD_BYTES].hex()},
        proves="The paravisor below the operating system wrote these bytes; the guest can only read them.",
        next="They start with HCLA: a header, the hardware report, and the runtime data.",
        raw=raw,
    )
    made.add(
        "hcl-report",
        "The HCL report",
        hcl,
        proves="One blob carries the hardware's report and the claims whose digest stands in it.",
        next="Bytes 0x020 to 0x4BF are the SNP report; the JSON from 0x4D4 on is the runtime data.",
    )
    made.add(
        "snp-report",
        "The SNP report",
        hcl.snp(),
        proves="The processor signs which firmware, which launch measurement and which policy this VM runs under.",
        next="REPORTED_TCB and CHIP_ID choose the certificate that must verify the signature.",
        points_at=("report_data", "measurement", "reported_tcb", "chip_id"),
    )
    made.add(
        "runtime-claims",
        "The runtime claims",
        hcl.runtime_claims,
        proves="REPORT_DATA is the SHA-256 of exactly these bytes, so the hardware vouches for the vTPM's HCLAkPub.",
        next="HCLAkPub must have signed the quote, and user-data must be what was asked for.",
    )


def _show_certificates(made: Collector, evidence: CollectedEvidence) -> None:
    certificates = evidence.certificates
    vek = parse_vek(certificates["vcekCert"].encode())
    chain = parse_certificates(certificates["certificateChain"].encode())
    subjects: list[Json] = [certificate.subject.rfc4514_string() for certificate in chain]
    made.add(
        "certificates",
        "The certificates from the host (THIM)",
        {"tcbm": certificates["tcbm"], "vcek": vek.fields(), "chain": subjects},
        proves="AMD says: this key belongs to this chip at this firmware level, and AMD's root says that AMD says it.",
        next="The VCEK verifies the report; its extensions must equal REPORTED_TCB and CHIP_ID.",
        raw=(certificates["vcekCert"] + certificates["certificateChain"]).encode(),
    )


def _show_tpm(made: Collector, evidence: CollectedEvidence) -> None:
    made.add(
        "quote",
        "The quote",
        parse_attest(evidence.quote),
        proves="The attestation key signed a digest over the PCRs: what this VM booted, in the vTPM's own words.",
        next="Its PCR digest must equal the digest of the PCRs below; HCLAkPub must verify its signature.",
    )
    pcrs: dict[str, Json] = {str(index): value.hex() for index, value in sorted(evidence.pcrs.items())}
    made.add(
        "pcrs",
        "The PCRs",
        {"bank": "sha256", "pcrs": pcrs},
        proves="Alone nothing: anyone can write numbers down. With the quote, they are what the vTPM holds.",
        next="Replaying the event log must give the same values.",
    )
    if evidence.event_log:
        made.add(
            "event-log",
            "The boot event log",
            parse_event_log(evidence.event_log),
            proves="Each measured step of the boot, in order; replayed, it must end in the PCRs.",
            next="MAA derives its secure-boot claims from it.",
        )


def _show_ephemeral_key(made: Collector, evidence: CollectedEvidence) -> None:
    made.add(
        "ephemeral-key",
        "The ephemeral key",
        parse_public(evidence.key_public),
        proves="An RSA key that was born in the vTPM, cannot leave it, and works only while the PCRs stay as they are.",
        next="MAA seals the token to it, and Key Vault wraps the released key for it.",
    )
    made.add(
        "key-certification",
        "The ephemeral key's certification",
        parse_attest(evidence.key_certify),
        proves="The attestation key signed the ephemeral key's name: both live in the same vTPM.",
        next="MAA checks the name against the public key, and puts the key into the token.",
    )


def show_issued(made: Collector, issued: Issued) -> None:
    """Add the request to MAA, and the sealed envelope if the token came in one."""
    made.add(
        "maa-request",
        "The request to Azure Attestation",
        issued.request,
        proves="All the evidence travels together, encoded as Microsoft's own client encodes it.",
        next="MAA verifies it, applies its policy, and answers with a token.",
    )
    if issued.envelope is not None:
        made.add(
            "sealed-envelope",
            "The sealed answer",
            issued.envelope,
            proves="The token is encrypted to the ephemeral key: only this vTPM, in this boot state, can open it.",
            next="RSA_Decrypt in the vTPM gives the AES key, AES-GCM the token.",
        )


def show_token(made: Collector, token: VerifiedToken, *, sealed: bool) -> None:
    """Add the verified attestation token."""
    made.add(
        "maa-token",
        "The attestation token, verified",
        token,
        proves="Azure Attestation vouches for every claim: signature, issuer, times, nonce and key were checked here.",
        next="Key Vault holds these claims against the key's release policy."
        if sealed
        else "Its claims stand at the top, not under x-ms-isolation-tee: a policy for guest tokens says no to it.",
        raw=token.raw,
        points_at=_TOKEN_CLAIMS if sealed else ("claims.x-ms-compliance-status",),
    )


def show_decision(made: Collector, decision: Decision) -> None:
    """Add what the release policy says of the claims."""
    made.add(
        "policy-decision",
        "The release policy, evaluated here",
        decision.to_json(),
        proves="Yes or no, clause by clause, before Key Vault is asked.",
        next="If Key Vault says otherwise, its copy of the policy or the token differs.",
    )


def show_release(
    made: Collector,
    request: ReleaseRequest,
    release: VerifiedRelease,
    *,
    key: str,
    version: str,
) -> None:
    """Add the release request, the signed response, the envelope in it, and its two parts."""
    made.add(
        "release-request",
        "The release request",
        {
            "line": f"POST /keys/{key}/{version}/release",
            "target": f"<the attestation token, {len(request.target)} characters>",
            "nonce": request.nonce,
            "enc": request.enc.value,
        },
        proves="Two tokens are shown: the access token says who asks, the attestation token says what it runs in.",
        next="Key Vault checks both, then the policy, then wraps the key.",
    )
    made.add(
        "release-response",
        "The signed response",
        release.response,
        proves="Key Vault signed this answer: signature, chain, host name, enc and nonce were checked here.",
        next="Its payload holds the key bundle and, in key_hsm, the wrapped private key.",
        points_at=("key_hsm",),
    )
    made.add(
        "key-hsm",
        "key_hsm: the wrapped key",
        release.key_hsm,
        proves="Its kid names the ephemeral key; nobody else, Microsoft's operators included, can open it.",
        next="The ciphertext is two ciphertexts, one after the other.",
    )
    wrapped_kek, wrapped_key = release.key_hsm.split()
    made.add(
        "ciphertext-split",
        "The ciphertext, split",
        {
            "wrapped_aes_key": {"size": len(wrapped_kek), "how": f"RSA-OAEP {request.enc.hash}", "by": "the vTPM"},
            "wrapped_private_key": {"size": len(wrapped_key), "how": "AES-KWP (RFC 5649)", "by": "the AES key"},
        },
        proves="First an AES key for the vTPM, then the private key under that AES key.",
        next="The vTPM opens the first part; the second is opened in the VM's encrypted memory.",
    )


def show_released_key(
    made: Collector, key: ReleasedKey, public: Mapping[str, Json], proof: Proof, *, read_from_vault: bool
) -> None:
    """Add the public half of the released key, and the proof that the private half answers to it.

    `read_from_vault` says where `public`, which it was compared with, comes from: asked of the vault, or else the
    bundle in the signed response, because a VM that may only release cannot read the key.
    """
    made.add(
        "released-key",
        "The released key: its public half",
        {
            "kty": key.kty,
            "bits": key.size_bits,
            "sha256": f"{key.sha256_prefix}…",
            "public_pem": key.public_pem(),
            "equals": public.get("kid"),
            "compared_with": "the vault's answer to get" if read_from_vault else "the bundle in the signed response",
        },
        proves="The private key is here, and its public half is the vault's. It is shown to nobody, written nowhere.",
        next="It can now do what the vault's public key asks for.",
    )
    made.add(
        "proof",
        "The proof",
        {"operation": proof.operation, "message_bytes": proof.message_bytes},
        proves="What the vault's public key sealed, the released private key opened: the release is real.",
        next="Nothing: the four steps are done.",
    )
