"""Policies and policy signers of an attestation provider, read and changed: who may, is Azure's to say.

Who answers is verified here: each answer is a token of the provider's, held to the keys that it publishes. Requests are
those of the Azure CLI's extension `attestation`: a JWS travels as a JSON text.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from skrkit.encoding import b64url, json_object, member
from skrkit.errors import ParseError, VerificationError
from skrkit.services.azure_errors import azure_call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography import x509

    from skrkit.cloud import Cloud
    from skrkit.wire import Json

API = "2022-08-01"
_RESULTS = ("x-ms-policycertificates-result", "x-ms-certificate-result")  # as recorded; as the OpenAPI document has it


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
    from skrkit.attestation_policy.form import opened_policy

    claims = _asked(cloud, issuer, "GET", f"policies/{kind}")
    stored = claims.get("x-ms-policy")
    if stored is None:
        return ProviderPolicy(issuer=issuer, kind=kind, text="")
    found = opened_policy(str(stored))
    return ProviderPolicy(issuer=issuer, kind=kind, text=found.text, signed_by=found.signed_by)


def set_policy(cloud: Cloud, issuer: str, kind: str, jws: str) -> None:
    """Put a policy into force: a JWS, signed by a policy signer where the provider has any.

    Raises `ServiceError` with the provider's own code where it refuses, `VerificationError` for an answer that is not
    its own, or is about another policy than this one.
    """
    claims = _asked(cloud, issuer, "PUT", f"policies/{kind}", jws)
    _require(claims, "x-ms-policy-result", "Updated")
    _require(claims, "x-ms-policy-token-hash", b64url(hashlib.sha256(jws.encode("ascii")).digest()))


def reset_policy(cloud: Cloud, issuer: str, kind: str, jws: str) -> None:
    """Put the provider's default back into force. `jws` has an empty payload. Raises as `set_policy` does."""
    claims = _asked(cloud, issuer, "POST", f"policies/{kind}:reset", jws)
    _require(claims, "x-ms-policy-result", "Removed")


def fetch_signers(cloud: Cloud, issuer: str) -> tuple[x509.Certificate, ...]:
    """Return the certificates of those who may sign policies; none for a provider that goes by roles alone."""
    found = _asked(cloud, issuer, "GET", "certificates").get("x-ms-policy-certificates")
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list):
        raise ParseError(
            what="policy signers",
            where="/x-ms-policy-certificates/keys",
            expected="a list of keys",
            found=type(keys).__name__,
            fix="This is not the answer of an attestation provider: check the URL.",
        )
    return tuple(_certificate(key, f"/x-ms-policy-certificates/keys/{index}") for index, key in enumerate(keys))


def change_signers(cloud: Cloud, issuer: str, action: Literal["add", "remove"], jws: str) -> str:
    """Return the SHA-1 of the certificate that is now a policy signer, or none any longer, in upper-case hex."""
    claims = _asked(cloud, issuer, "POST", f"certificates:{action}", jws)
    name = next((name for name in _RESULTS if name in claims), _RESULTS[0])
    _require(claims, name, "IsPresent" if action == "add" else "IsAbsent")
    return str(claims.get("x-ms-certificate-thumbprint", ""))


def _asked(cloud: Cloud, issuer: str, method: str, path: str, jws: str | None = None) -> Mapping[str, Json]:
    """Return the claims of an answer, once it is known to be the provider's."""
    from skrkit.services.maa import fetch_signing_keys
    from skrkit.services.rest import RestClient
    from skrkit.token.decode import decode_jwt
    from skrkit.token.verify import verify_token

    url = f"{issuer}/{path}?api-version={API}"
    with azure_call("attestation policy"), RestClient(cloud) as client:
        bearer = cloud.credential().get_token(f"https://{cloud.endpoints.attest_suffix}/.default").token
        answer = client.send(method, url, headers={"Authorization": f"Bearer {bearer}"}, body=jws)
        keys = fetch_signing_keys(client, issuer)
    text = member(json_object(answer, what="MAA answer", where=f"{method} {url}"), "token", str, what="MAA answer")
    return verify_token(decode_jwt(str(text)), jwks=keys, issuer=issuer, now=cloud.now()).claims


def _require(claims: Mapping[str, Json], name: str, expected: str) -> None:
    if claims.get(name) != expected:
        raise VerificationError(
            what="the provider's answer",
            where=f"/{name}",
            expected=expected,
            found=str(claims.get(name)),
            fix="Read the policy that is in force: skrkit maa show; and set it again.",
            step="maa.answer",
        )


def _certificate(key: Json, where: str) -> x509.Certificate:
    from cryptography import x509

    from skrkit.encoding import any_b64_bytes

    x5c = key.get("x5c") if isinstance(key, dict) else None
    first = x5c[0] if isinstance(x5c, list) and x5c else None
    if isinstance(first, str):
        try:
            return x509.load_der_x509_certificate(any_b64_bytes(first, what="policy signers", where=f"{where}/x5c/0"))
        except ValueError:
            pass
    raise ParseError(
        what="policy signers",
        where=f"{where}/x5c/0",
        expected="a certificate, DER in base64",
        found="none",
        fix="This is not the answer of an attestation provider: check the URL.",
    )


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
