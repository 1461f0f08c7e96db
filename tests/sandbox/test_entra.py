"""Entra ID: what a client is told and given, and which bearer tokens every service refuses, each for its reason."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skrkit.sandbox import entra, entra_keys
from skrkit.sandbox.endpoint import Endpoint
from tests.sandbox.running import LOGIN, Answer, operator_token, send
from tests.sandbox.vault.azure import OPERATOR, Azure

VAULT = "https://vault.azure.net"
FORM = "application/x-www-form-urlencoded"


def ask_token(endpoint: Endpoint, *, tenant: str | None = None, **changes: str | None) -> Answer:
    form = {
        "grant_type": "client_credentials",
        "client_id": endpoint.client_id,
        "client_secret": endpoint.client_secret,
        "scope": f"{VAULT}/.default",
        **changes,
    }
    body = urlencode({name: value for name, value in form.items() if value is not None})
    return send(endpoint, "POST", f"{LOGIN}/{tenant or endpoint.tenant}/oauth2/v2.0/token", body, Content_Type=FORM)


def test_a_token_verifies_with_the_keys_that_discovery_leads_to(sandbox: Endpoint) -> None:
    """As any relying party does it: discovery document, its keys, PyJWT."""
    document = send(sandbox, "GET", f"{LOGIN}/{sandbox.tenant}/.well-known/openid-configuration").json()
    keys = jwt.PyJWKSet.from_dict(send(sandbox, "GET", document["jwks_uri"]).json())
    token = operator_token(sandbox, VAULT)
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["RS256"], audience=VAULT, issuer=document["issuer"])
    assert claims["iss"] == f"https://sts.windows.net/{sandbox.tenant}/"
    assert (claims["tid"], claims["appid"], claims["appidacr"]) == (sandbox.tenant, sandbox.client_id, "1")
    assert claims["oid"] == claims["sub"] == sandbox.operator_oid
    assert (claims["ver"], claims["idtyp"]) == ("1.0", "app")
    assert claims["exp"] - claims["iat"] == 3599
    assert "xms_mirid" not in claims


def test_the_v2_document_is_what_msal_needs(sandbox: Endpoint) -> None:
    base = f"{LOGIN}/{sandbox.tenant}"
    document = send(sandbox, "GET", f"{base}/v2.0/.well-known/openid-configuration").json()
    assert document["token_endpoint"] == f"{base}/oauth2/v2.0/token"
    assert document["jwks_uri"] == f"{base}/discovery/v2.0/keys"
    assert document["issuer"] == f"{base}/v2.0"
    answer = ask_token(sandbox)
    assert (answer.status, answer.json()["token_type"], answer.json()["expires_in"]) == (200, "Bearer", 3599)


@pytest.mark.parametrize(
    ("changes", "status", "error", "number"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_secret": ""}, 401, "invalid_client", 7000215),
        ({"client_secret": "é€"}, 401, "invalid_client", 7000215),
        ({"client_id": "00000000-0000-0000-0000-000000000000"}, 400, "unauthorized_client", 700016),
        ({"client_id": None}, 400, "", 0),
        ({"tenant": "00000000-0000-0000-0000-000000000000"}, 400, "invalid_tenant", 90002),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        ({"grant_type": None}, 400, "", 0),
        ({"scope": "https://unknown.example/.default"}, 400, "invalid_resource", 500011),
        ({"scope": VAULT}, 400, "invalid_scope", 1002012),
        ({"scope": None}, 400, "", 0),
    ],
)
def test_a_refusal_has_entras_number(
    sandbox: Endpoint, changes: dict[str, str | None], status: int, error: str, number: int
) -> None:
    answer = ask_token(sandbox, **changes)
    said = answer.json()
    assert answer.status == status
    assert sandbox.client_secret not in answer.body.decode()
    assert said["error_description"].startswith("AADSTS")
    if number:
        assert (said["error"], said["error_codes"]) == (error, [number])
        assert said["error_description"].startswith(f"AADSTS{number}: ")


def test_a_body_that_is_no_form_is_refused(sandbox: Endpoint) -> None:
    url = f"{LOGIN}/{sandbox.tenant}/oauth2/v2.0/token"
    for body in (b"", b"\xff\xfe\x00", b"{}", b"=&=&&&", b"client_id=%ff%zz"):
        assert send(sandbox, "POST", url, body, Content_Type=FORM).status == 400


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[Azure]:
    made = Azure(tmp_path)
    yield made
    made.world.store.close()


def authenticate(azure: Azure, authorization: str | None) -> entra.Principal:
    return entra.authenticate(azure.world, authorization, audiences=(VAULT,))


def reason(azure: Azure, authorization: str | None) -> str:
    with pytest.raises(entra.TokenRefused) as refused:
        authenticate(azure, authorization)
    return refused.value.reason


def issued(azure: Azure, resource: str = VAULT, principal: entra.Principal = OPERATOR) -> str:
    return entra.issue_token(azure.world, principal=principal, resource=resource, lifetime_s=3600)


def test_a_good_token_says_who(azure: Azure) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert authenticate(azure, f"{scheme} {issued(azure)}") == OPERATOR
    machine = entra.Principal(oid="o", appid="a", tid=OPERATOR.tid, mirid="/subscriptions/s/resourceGroups/g/x")
    seen = authenticate(azure, f"Bearer {issued(azure, principal=machine)}")
    assert seen.mirid == "/subscriptions/s/resourcegroups/g/x"


def test_times(azure: Azure) -> None:
    token = f"Bearer {issued(azure)}"
    begun = azure.clock.time
    azure.clock.time = begun + timedelta(seconds=3599)
    assert authenticate(azure, token) == OPERATOR
    azure.clock.time = begun + timedelta(seconds=3600)
    assert reason(azure, token) == "expired"
    azure.clock.time = begun - timedelta(seconds=300)
    assert authenticate(azure, token) == OPERATOR
    azure.clock.time = begun - timedelta(seconds=301)
    assert reason(azure, token) == "expired"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dTpw", "e30.e30.e30"])
def test_no_bearer_is_missing(azure: Azure, header: str | None) -> None:
    assert reason(azure, header) == "missing"


def test_audience_and_issuer(azure: Azure) -> None:
    assert reason(azure, f"Bearer {issued(azure, 'https://management.azure.com')}") == "audience"
    assert reason(azure, f"Bearer {issued(azure, VAULT + '/')}") == "audience"
    elsewhere = entra.Principal(oid="o", appid="a", tid="99999999-9999-4999-8999-999999999999")
    assert reason(azure, f"Bearer {issued(azure, principal=elsewhere)}") == "issuer"


def test_forgeries(azure: Azure) -> None:
    token = issued(azure)
    head, body, signature = token.split(".")
    header: dict[str, Any] = jwt.get_unverified_header(token)
    claims = jwt.decode(token, options={"verify_signature": False})
    mine = rsa.generate_private_key(65537, 2048)
    kid = {"kid": header["kid"]}
    ours = entra_keys.signing_key(azure.world).key
    public = ours.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    confused = joined([json.dumps({"alg": "HS256", **kid}).encode(), json.dumps(claims).encode()])
    mac = hmac.digest(public, confused.encode(), "sha256")  # a verifier that takes the header's word checks with this
    forged = [
        jwt.encode(claims, mine, algorithm="RS256", headers=kid),
        jwt.encode(claims, mine, algorithm="RS256", headers={"kid": "mine"}),
        f"{confused}.{joined([mac])}",
        joined([json.dumps({"alg": "none", **kid}).encode(), json.dumps(claims).encode(), b""]),
        jwt.encode(claims, ours, algorithm="RS512", headers=kid),
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{issued(azure, 'https://management.azure.com').split('.')[1]}.{signature}",
    ]
    assert [reason(azure, f"Bearer {each}") for each in forged] == ["signature"] * len(forged)
    for missing in ("aud", "iss", "exp", "nbf", "oid", "appid", "tid"):
        fewer = {name: value for name, value in claims.items() if name != missing}
        signed = jwt.encode(fewer, ours, algorithm="RS256", headers=kid)
        assert reason(azure, f"Bearer {signed}") == "signature", missing


def joined(parts: list[bytes]) -> str:
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(max_size=60), st.lists(st.binary(max_size=20), min_size=3, max_size=3).map(joined)))
def test_any_text_is_refused_and_no_more(azure: Azure, text: str) -> None:
    assert reason(azure, f"Bearer {text}") in ("missing", "signature")


def test_the_key_outlives_the_process(azure: Azure) -> None:
    token = issued(azure)
    azure.world.cache.clear()
    assert authenticate(azure, f"Bearer {token}") == OPERATOR
    assert "PRIVATE" not in json.dumps(entra_keys.signing_key(azure.world).jwk())
    assert "PRIVATE" not in repr(entra_keys.signing_key(azure.world))
