"""Microsoft Azure Attestation: guest (`AzureGuest`) and platform (`SevSnpVm`) attestation, and the published keys."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skrkit.encoding import b64url, json_object, member
from skrkit.errors import UsageError
from skrkit.release.ports import CollectedEvidence, Issued
from skrkit.services.azure_errors import azure_call

if TYPE_CHECKING:
    from skrkit.services.rest import RestClient
    from skrkit.token.jwks import Jwks
    from skrkit.wire import Json

GUEST_API = "2020-10-01"  # what Microsoft's C++ client library sends
PLATFORM_API = "2022-08-01"


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def provider_url(attestation: str) -> str:
    """Return a provider's base URL, https and without a trailing slash. Raises `UsageError` for anything else."""
    url = attestation.rstrip("/")
    if not re.fullmatch(r"https://[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", url):
        raise UsageError(
            what="attestation provider",
            where="its URL",
            expected="https:// and a host, such as https://sharedweu.weu.attest.azure.net",
            found=attestation,
            fix="Take the attestUri of your region's shared provider.",
        )
    return url


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestAttestation:
    """The token issuer behind `POST /attest/AzureGuest`: the token comes back sealed to the vTPM's ephemeral key."""

    client: RestClient = field(repr=False)
    issuer: str
    keys: list[Jwks] = field(default_factory=list, repr=False)

    def attest(self, evidence: CollectedEvidence, *, nonce: str) -> Issued:
        """Return the sealed token. `nonce` travels as `ClientPayload.nonce`, and is echoed in base64.

        Raises `ServiceError` with MAA's own code and message when it refuses the evidence.
        """
        from skrkit.token.envelope import parse_sealed_envelope

        info = attestation_info(evidence, {"nonce": nonce})
        body: Json = {"AttestationInfo": b64url(json.dumps(info).encode())}
        url = f"{self.issuer}/attest/AzureGuest?api-version={GUEST_API}"
        with azure_call("guest attestation"):
            answer = self.client.send("POST", url, body=body)
        return Issued(request=info, envelope=parse_sealed_envelope(answer))

    def signing_keys(self, *, fresh: bool = False) -> Jwks:
        """Return the keys that the configured provider publishes: as they were first fetched, unless `fresh`."""
        return _kept_keys(self.keys, self.client, self.issuer, fresh)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformAttestation:
    """The token issuer behind `POST /attest/SevSnpVm`: hardware evidence only, and the token comes back open."""

    client: RestClient = field(repr=False)
    issuer: str
    keys: list[Jwks] = field(default_factory=list, repr=False)

    def attest(self, evidence: CollectedEvidence, *, nonce: str) -> Issued:
        """Return the open token. `nonce` is echoed as the claim `nonce`."""
        from skrkit.token.decode import decode_jwt

        request = platform_request(evidence, nonce)
        url = f"{self.issuer}/attest/SevSnpVm?api-version={PLATFORM_API}"
        with azure_call("platform attestation"):
            answer = self.client.send("POST", url, body=request)
        text = member(json_object(answer, what="MAA answer", where=f"POST {url}"), "token", str, what="MAA answer")
        return Issued(request=request, token=decode_jwt(str(text)))

    def signing_keys(self, *, fresh: bool = False) -> Jwks:
        """Return the keys that the configured provider publishes: as they were first fetched, unless `fresh`."""
        return _kept_keys(self.keys, self.client, self.issuer, fresh)


def _kept_keys(kept: list[Jwks], client: RestClient, issuer: str, fresh: bool) -> Jwks:
    """Return the keys kept for as long as the issuer object lives; MAA rotates them, so an unknown kid asks anew."""
    if fresh or not kept:
        kept[:] = [fetch_signing_keys(client, issuer)]
    return kept[0]


def fetch_signing_keys(client: RestClient, issuer: str) -> Jwks:
    """Return `<issuer>/certs`. The address comes from configuration, never from a token's `jku`."""
    from skrkit.token.jwks import parse_jwks

    with azure_call("MAA signing keys"):
        return parse_jwks(client.send("GET", f"{issuer}/certs"))


def attestation_info(evidence: CollectedEvidence, payload: Mapping[str, str]) -> dict[str, Json]:
    """Return the JSON that goes, base64url, into `AttestationInfo` (protocol 2.0).

    Encodings are those of Microsoft's C++ client: base64 with padding, but base64url for the SNP report. Values of
    `payload` are base64 of their UTF-8 text, and come back that way in the token.
    """
    major, minor = evidence.os_version
    return {
        "AttestationProtocolVersion": "2.0",
        "OSType": _b64(evidence.os_name.encode()),
        "OSDistro": _b64(evidence.os_distro.encode()),
        "OSVersionMajor": major,
        "OSVersionMinor": minor,
        "OSBuild": _b64(b"NotApplication"),
        "TcgLogs": _b64(evidence.event_log),
        "ClientPayload": {name: _b64(value.encode()) for name, value in payload.items()},
        "TpmInfo": {
            "AikCert": _b64(evidence.ak_certificate),
            "AikPub": _b64(evidence.ak_public),
            "PcrQuote": _b64(evidence.quote),
            "PcrSignature": _b64(evidence.quote_signature),
            "PcrSet": [int(index) for index in sorted(evidence.pcrs)],
            "PCRs": [{"Index": index, "Digest": _b64(evidence.pcrs[index])} for index in sorted(evidence.pcrs)],
            "EncKeyPub": _b64(evidence.key_public),
            "EncKeyCertifyInfo": _b64(evidence.key_certify),
            "EncKeyCertifyInfoSignature": _b64(evidence.key_certify_signature),
        },
        "IsolationInfo": {
            "Type": "SevSnp",
            "Evidence": {"Proof": _b64(_snp_proof(evidence)), "RunTimeData": _b64(_runtime_data(evidence))},
        },
    }


def platform_request(evidence: CollectedEvidence, nonce: str) -> dict[str, Json]:
    """Return the body of `/attest/SevSnpVm`: report with certificates, runtime data byte for byte, and the nonce."""
    return {
        "report": b64url(_snp_proof(evidence)),
        "runtimeData": {"data": b64url(_runtime_data(evidence)), "dataType": "JSON"},
        "nonce": nonce,
    }


def _snp_proof(evidence: CollectedEvidence) -> bytes:
    from skrkit.evidence.hcl import parse_hcl_report

    chain = evidence.certificates["vcekCert"] + evidence.certificates["certificateChain"]
    report = parse_hcl_report(evidence.hcl_report).snp().raw
    return json.dumps({"SnpReport": b64url(report), "VcekCertChain": _b64(chain.encode())}).encode()


def _runtime_data(evidence: CollectedEvidence) -> bytes:
    from skrkit.evidence.hcl import parse_hcl_report

    return parse_hcl_report(evidence.hcl_report).runtime_data
