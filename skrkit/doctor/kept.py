"""What a walk through step 4 leaves behind: evidence and tokens, kept on their way, or read piece by piece."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skrkit.errors import SkrkitError

if TYPE_CHECKING:
    from skrkit.release.ports import CollectedEvidence, Issued, RsaScheme
    from skrkit.services.attester import Attester
    from skrkit.services.maa import GuestAttestation
    from skrkit.token.jwks import Jwks


def evidence_files(collected: CollectedEvidence) -> dict[str, bytes]:
    """Return collected evidence by the names of a case; PCR values as a JSON object from number to hex."""
    files = {
        "hcl-report": collected.hcl_report,
        "vcek": collected.certificates["vcekCert"].encode(),
        "chain": collected.certificates["certificateChain"].encode(),
        "ak-certificate": collected.ak_certificate,
        "ak-public": collected.ak_public,
        "quote": collected.quote,
        "quote-signature": collected.quote_signature,
        "pcrs": pcrs_json(collected.pcrs),
        "event-log": collected.event_log,
        "key-public": collected.key_public,
        "key-certify": collected.key_certify,
        "key-certify-signature": collected.key_certify_signature,
    }
    return {name: data for name, data in files.items() if data}


def pcrs_json(pcrs: Mapping[int, bytes]) -> bytes:
    """Return PCR values as `skrkit verify --pcrs` reads them: a JSON object from number to hex."""
    return json.dumps({str(index): value.hex() for index, value in sorted(pcrs.items())}).encode()


def evidence_by_piece(attester: Attester) -> dict[str, bytes]:
    """Return what can be read of the evidence, piece by piece, where collecting it as a whole has failed."""
    from skrkit.services.attester import AK_CERTIFICATE_INDEX, AK_HANDLE, HCL_REPORT_INDEX
    from skrkit.services.imds import fetch_thim_certificates

    files: dict[str, bytes] = {}
    tpm, cloud = attester.tpm, attester.cloud
    with suppress(SkrkitError):
        files["hcl-report"] = tpm.nv_read(HCL_REPORT_INDEX)
    with suppress(SkrkitError):
        files["ak-certificate"] = tpm.nv_read(AK_CERTIFICATE_INDEX)
    with suppress(SkrkitError):
        files["ak-public"] = tpm.read_public(AK_HANDLE).marshal()
    with suppress(SkrkitError):
        files["pcrs"] = pcrs_json(tpm.pcr_read(attester.pcrs))
    with suppress(SkrkitError):
        files["quote"], files["quote-signature"] = tpm.quote(AK_HANDLE, attester.pcrs)
    with suppress(SkrkitError):
        files["event-log"] = cloud.read_event_log()
    with suppress(SkrkitError):
        certificates = fetch_thim_certificates(cloud)
        files["vcek"] = certificates["vcekCert"].encode()
        files["chain"] = certificates["certificateChain"].encode()
    return {name: data for name, data in files.items() if data}


@dataclass(slots=True, kw_only=True)
class KeptIssuer:
    """An issuer that keeps what it answered, so that a token that does not verify can still be looked at."""

    inner: GuestAttestation
    issued: Issued | None = None

    @property
    def issuer(self) -> str:
        """The provider's base URL."""
        return self.inner.issuer

    def attest(self, evidence: CollectedEvidence, *, nonce: str) -> Issued:
        """Return the provider's answer, kept."""
        self.issued = self.inner.attest(evidence, nonce=nonce)
        return self.issued

    def signing_keys(self, *, fresh: bool = False) -> Jwks:
        """Return the provider's keys."""
        return self.inner.signing_keys(fresh=fresh)


@dataclass(slots=True, kw_only=True)
class KeptSource:
    """An evidence source that keeps what it collected."""

    inner: Attester
    collected: CollectedEvidence | None = None

    def collect(self, *, user_data: bytes) -> CollectedEvidence:
        """Return fresh evidence, kept."""
        self.collected = self.inner.collect(user_data=user_data)
        return self.collected

    def decrypt(self, ciphertext: bytes, scheme: RsaScheme) -> bytes:
        """Return what the ephemeral key decrypts."""
        return self.inner.decrypt(ciphertext, scheme)


def raw_token(source: KeptSource, issuer: KeptIssuer) -> bytes:
    """Return the token that the provider sent, verified or not; empty where there is none, or its envelope is shut."""
    from skrkit.token.envelope import open_envelope

    if issuer.issued is None:
        return b""
    if issuer.issued.token is not None:
        return issuer.issued.token.raw
    with suppress(SkrkitError):
        assert issuer.issued.envelope is not None, "an issuer answers with a token or an envelope"
        return open_envelope(issuer.issued.envelope, lambda sealed: source.decrypt(sealed, "rsaes")).encode()
    return b""
