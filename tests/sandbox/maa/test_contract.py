"""Answers of Azure Attestation's data plane, against the models of Microsoft's client (azure-security-attestation).

Those are generated from the service's OpenAPI document of 2020-10-01. What newer documents add is checked by hand.
"""

from __future__ import annotations

import json
import re
import warnings
from typing import Any

import jwt
import pytest
from starlette.types import ASGIApp

from skrkit.sandbox import entra
from skrkit.sandbox.entra import Principal
from skrkit.sandbox.maa import providers
from skrkit.sandbox.world import World
from skrkit.token.catalogue import catalogue
from tests.sandbox.published import differences

from .asgi_call import Answer, ask
from .attested import HOST, Attester, b64url, make_attester
from .test_jws import RSA_KEY, RSA_ROOT, entry

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # msrest's own
    name = "azure.security.attestation._generated.models"
    models: Any = pytest.importorskip(name, reason="azure-security-attestation is not installed (extra dev)")

MINE = "contract.weu.attest.azure.net"
JWS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")  # the pattern of the document
SIGNER = {"alg": "RS256", "kty": "RSA", "use": "sig", "x5c": [entry(RSA_ROOT)]}
DISCOVERY = {  # OpenIDConfigurationResponse of 2025-06-01
    "response_types_supported": list, "id_token_signing_alg_values_supported": list, "revocation_endpoint": str,
    "issuer": str, "jwks_uri": str, "claims_supported": list,
}  # fmt: skip


@pytest.fixture(scope="module")
def vm(world: World) -> Attester:
    return make_attester(world)


@pytest.fixture(scope="module")
def asked(world: World, app: ASGIApp) -> Any:
    """Ask a provider in isolated mode as its owner."""
    from skrkit.sandbox.maa import signers

    resource = f"/subscriptions/{world.subscription}/resourcegroups/g/providers/microsoft.attestation/p/contract"
    providers.register(world, providers.Provider(host=MINE, resource_id=resource, isolated=True))
    signers.keep(world, MINE, [RSA_ROOT])
    owner = Principal(oid=world.setting("operator_oid"), appid=world.setting("client_id"), tid=world.tenant)
    token = entra.issue_token(world, principal=owner, resource="https://attest.azure.net", lifetime_s=3600)

    def ask_mine(method: str, path: str, text: Any = "") -> Answer:
        url = f"https://{MINE}/{path}?api-version=2022-08-01"
        body = json.dumps(text).encode() if text else b""
        return ask(app, method, url, body=body, authorization=f"Bearer {token}")

    return ask_mine


def signed(payload: dict[str, Any]) -> str:
    return jwt.encode(payload, RSA_KEY, "RS256", headers={"x5c": [entry(RSA_ROOT)]})


POLICY = signed({"AttestationPolicy": b64url(b"version= 1.0;authorizationrules{=> permit();};")})
CHANGE = signed({"policyCertificate": {"kty": "RSA", "x5c": [entry(RSA_ROOT)]}})


def claims_of(answer: Answer, model: type) -> Any:
    """Return the claims of an answer's token, once answer and token have the form that the document gives them."""
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert list(differences(model, answer.json())) == []
    assert JWS.fullmatch(answer.json()["token"])
    return jwt.decode(answer.json()["token"], options={"verify_signature": False})


def without_registered(claims: dict[str, Any]) -> dict[str, Any]:
    assert all(type(claims[name]) is int for name in ("exp", "iat", "nbf"))
    return {name: value for name, value in claims.items() if name not in ("exp", "iat", "iss", "nbf")}


@pytest.mark.parametrize(
    ("method", "path", "text", "answered", "result"),
    [
        ("GET", "policies/SevSnpVm", "", "PolicyResponse", "PolicyResult"),
        ("PUT", "policies/SevSnpVm", POLICY, "PolicyResponse", "PolicyResult"),
        ("POST", "policies/SevSnpVm:reset", signed({}), "PolicyResponse", "PolicyResult"),
        ("GET", "certificates", "", "PolicyCertificatesResponse", "PolicyCertificatesResult"),
        (
            "POST",
            "certificates:add",
            CHANGE,
            "PolicyCertificatesModifyResponse",
            "PolicyCertificatesModificationResult",
        ),
    ],
)
def test_policies_and_signers(asked: Any, method: str, path: str, text: str, answered: str, result: str) -> None:
    claims = claims_of(asked(method, path, text), getattr(models, answered))
    assert list(differences(getattr(models, result), without_registered(claims))) == []


def test_a_signer_as_newer_documents_send_it(asked: Any) -> None:
    """AddPolicyCertificateRequest and its counterpart of 2025-06-01: the JWS is a member of an object."""
    for name in ("policyCertificateToAdd", "policyCertificateToRemove"):
        claims = claims_of(asked("POST", "certificates:add", {name: CHANGE}), models.PolicyCertificatesModifyResponse)
        assert claims["x-ms-policycertificates-result"] == "IsPresent"
    for body in ({"policyCertificate": CHANGE}, {"policyCertificateToAdd": 7}, [CHANGE]):
        answer = asked("POST", "certificates:add", body)
        assert (answer.status, answer.json()["error"]["code"]) == (400, "InvalidOperation")


def test_each_result_is_one_of_the_published(asked: Any) -> None:
    def said(method: str, path: str, text: str, name: str) -> Any:
        return claims_of(asked(method, path, text), models.PolicyResponse)[name]

    modifications = {each.value for each in models.PolicyModification}
    assert said("PUT", "policies/SevSnpVm", POLICY, "x-ms-policy-result") in modifications
    assert said("POST", "policies/SevSnpVm:reset", signed({}), "x-ms-policy-result") in modifications
    present = {each.value for each in models.CertificateModification}
    assert said("POST", "certificates:add", CHANGE, "x-ms-policycertificates-result") in present
    assert said("PUT", "policies/SevSnpVm", POLICY, "x-ms-policy-signer") == SIGNER


def test_the_keys_and_the_discovery_document(app: ASGIApp) -> None:
    keys = ask(app, "GET", f"https://{HOST}/certs")
    assert keys.headers["content-type"].partition(";")[0] in ("application/jwk+json", "application/json")
    assert list(differences(models.JSONWebKeySet, keys.json())) == []
    document = ask(app, "GET", f"https://{HOST}/.well-known/openid-configuration").json()
    assert {name: type(value) for name, value in document.items()} == DISCOVERY
    assert (document["issuer"], document["jwks_uri"]) == (f"https://{HOST}", f"https://{HOST}/certs")


def test_a_platform_token(app: ASGIApp, vm: Attester) -> None:
    """What the published result has, is of its type; the rest are claims of confidential VMs, which are younger."""
    body = json.dumps({**vm.platform_body(), "nonce": "n"}).encode()
    answer = ask(app, "POST", f"https://{HOST}/attest/SevSnpVm?api-version=2022-08-01", body=body)
    claims = claims_of(answer, models.AttestationResponse)
    found = list(differences(models.AttestationResult, claims))
    unknown = {each.removesuffix(": unknown").lstrip("/") for each in found if each.endswith(": unknown")}
    assert len(unknown) == len(found), found
    assert unknown <= {fact.path for fact in catalogue()}
    assert claims["nonce"] == "n"
    assert isinstance(claims["x-ms-runtime"], dict)


def test_a_guest_token_is_sealed(app: ASGIApp, vm: Attester) -> None:
    """SealedAttestationResponse of 2025-06-01 has one text, without the pattern of a JWS."""
    url = f"https://{HOST}/attest/AzureGuest?api-version=2025-06-01"
    answer = ask(app, "POST", url, body=json.dumps(vm.body()).encode())
    assert answer.status == 200, answer.body
    assert {name: type(value) for name, value in answer.json().items()} == {"token": str}
    assert JWS.fullmatch(answer.json()["token"]) is None


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("POST", f"https://{HOST}/attest/SevSnpVm?api-version=2022-08-01", 400),
        ("POST", f"https://{HOST}/attest/SevSnpVm", 400),
        ("GET", f"https://{HOST}/policies/SevSnpVm?api-version=2022-08-01", 401),
        ("GET", f"https://{HOST}/nothing", 404),
        ("PUT", f"https://{HOST}/certs", 405),
        ("GET", "https://nobody.weu.attest.azure.net/certs", 404),
    ],
)
def test_an_error_is_a_cloud_error(app: ASGIApp, method: str, url: str, status: int) -> None:
    answer = ask(app, method, url, body=b"{}" if method != "GET" else b"")
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert list(differences(models.CloudError, answer.json())) == []


def test_the_comparison_sees_what_differs() -> None:
    wrong = {"x-ms-policy-result": 1, "x-ms-policy-signer": {"kty": "RSA", "x5c": "no list"}, "speed": 1}
    assert sorted(differences(models.PolicyResult, wrong)) == [
        "/speed: unknown",
        "/x-ms-policy-result: a text is expected, not 1",
        "/x-ms-policy-signer/x5c: [str] is expected, not 'no list'",
    ]
