"""The policy of an attestation provider, read from it: who may, is Azure's to say; who answers, is verified here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skrkit.encoding import b64url_bytes, json_object, member
from skrkit.errors import ParseError
from skrkit.services.azure_errors import azure_call

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.wire import Json

API = "2020-10-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderPolicy:
    """A policy in force. `signed_by` is the header's key or certificates as they came, not verified; None for none."""

    issuer: str
    kind: str
    text: str
    signed_by: dict[str, Json] | None = None


def fetch_policy(cloud: Cloud, issuer: str, kind: str) -> ProviderPolicy:
    """Return the policy that a provider has in force for an attestation type, its text empty where there is none.

    The answer is a token of the provider's, verified by the keys that it publishes. Raises `ServiceError` with the
    provider's own code where it refuses (401 without the role Attestation Reader), `VerificationError`, `ParseError`.
    """
    from skrkit.services.maa import fetch_signing_keys
    from skrkit.services.rest import RestClient
    from skrkit.token.decode import decode_jwt
    from skrkit.token.verify import verify_token

    url = f"{issuer}/policies/{kind}?api-version={API}"
    with azure_call("attestation policy"), RestClient(cloud) as client:
        bearer = cloud.credential().get_token(f"https://{cloud.endpoints.attest_suffix}/.default").token
        answer = client.send("GET", url, headers={"Authorization": f"Bearer {bearer}"})
        keys = fetch_signing_keys(client, issuer)
    text = member(json_object(answer, what="MAA answer", where=f"GET {url}"), "token", str, what="MAA answer")
    token = verify_token(decode_jwt(str(text)), jwks=keys, issuer=issuer, now=cloud.now())
    stored = token.claims.get("x-ms-policy")
    if stored is None:
        return ProviderPolicy(issuer=issuer, kind=kind, text="")
    return _opened(str(stored), issuer=issuer, kind=kind)


def _opened(jws: str, *, issuer: str, kind: str) -> ProviderPolicy:
    from skrkit.attestation_policy.form import policy_in

    parts = jws.split(".")
    if len(parts) != 3:
        raise ParseError(
            what="policy token",
            where="/x-ms-policy",
            expected="a JWS in compact form",
            found=f"{len(parts)} parts",
            fix="This is not the answer of an attestation provider: check the URL.",
        )
    header = json_object(b64url_bytes(parts[0], what="policy token", where="its header"), what="header", where="")
    payload = b64url_bytes(parts[1], what="policy token", where="its payload")
    named: dict[str, Json] = {name: value for name, value in header.items() if name in ("jwk", "x5c")}
    signed = None if header.get("alg") == "none" else named
    return ProviderPolicy(issuer=issuer, kind=kind, text=policy_in(payload) if payload else "", signed_by=signed)


def to_json(policy: ProviderPolicy) -> str:
    """Return a policy as one JSON document."""
    from skrkit.attestation_policy.form import policy_hash

    document: dict[str, Json] = {
        "provider": policy.issuer,
        "type": policy.kind,
        "policy": policy.text,
        "x-ms-policy-hash": policy_hash(policy.text) if policy.text else None,
        "signed_by": policy.signed_by,
    }
    return json.dumps(document, indent=2)
