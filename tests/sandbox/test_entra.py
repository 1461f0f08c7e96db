"""Entra ID of the sandbox: what it issues, what it refuses and in which words, and which bearers services take.

Azure's own client libraries are strangers to it: MSAL and azure-identity run against it in tests/clients.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from skrkit.sandbox import entra
from skrkit.sandbox.cast import ensure_cast
from skrkit.sandbox.store import Store
from skrkit.sandbox.world import World
from tests.sandbox.maa.asgi_call import Answer, ask

VAULT = "https://vault.azure.net"
LOGIN = "https://login.microsoftonline.com"


@dataclass
class Clock:
    time: datetime = field(default_factory=lambda: datetime(2026, 11, 24, 12, 0, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(tmp_path: Path, clock: Clock) -> Iterator[World]:
    store = Store(tmp_path / "state.db")
    ensure_cast(store, clock())
    nobody = cast(Any, None)  # neither certificates nor machines: Entra needs none
    yield World(home=tmp_path, store=store, tls=nobody, silicon=nobody, machines=nobody, now=clock)
    store.close()


def post(world: World, *, path: str = "oauth2/v2.0/token", tenant: str | None = None, **changed: str | None) -> Answer:
    form = {
        "grant_type": "client_credentials",
        "client_id": world.setting("client_id"),
        "client_secret": world.setting("client_secret"),
        "scope": f"{VAULT}/.default",
    } | changed
    body = urlencode({name: value for name, value in form.items() if value is not None}).encode()
    url = f"{LOGIN}/{tenant or world.tenant}/{path}"
    return ask(entra.app(world), "POST", url, body=body, content_type="application/x-www-form-urlencoded")


def get(world: World, path: str) -> Any:
    answer = ask(entra.app(world), "GET", LOGIN + path)
    assert answer.status == 200, answer.body
    return answer.json()


def principal(world: World, mirid: str | None = None) -> entra.Principal:
    return entra.Principal(oid="o" * 8, appid="a" * 8, tid=world.tenant, mirid=mirid)


def test_a_token_is_verified_by_the_published_key_and_has_the_claims_of_version_1(world: World, clock: Clock) -> None:
    answer = post(world)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store, no-cache"
    said = answer.json()
    token = said.pop("access_token")
    assert said == {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599}

    document = get(world, f"/{world.tenant}/v2.0/.well-known/openid-configuration")
    keys = {key["kid"]: key for key in get(world, document["jwks_uri"].removeprefix(LOGIN))["keys"]}
    header = jwt.get_unverified_header(token)
    assert header == {"typ": "JWT", "alg": "RS256", "kid": header["kid"], "x5t": header["kid"]}
    signature_alone = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}  # the clock is the test's
    key = jwt.PyJWK(keys[header["kid"]], "RS256")
    claims = jwt.decode(token, key, audience=VAULT, options=signature_alone)  # type: ignore[arg-type]
    at = int(clock().timestamp())
    assert len(claims.pop("uti")) == 22
    assert claims == {
        "aud": VAULT, "iss": f"https://sts.windows.net/{world.tenant}/", "idp": f"https://sts.windows.net/{world.tenant}/",
        "iat": at, "nbf": at, "exp": at + 3599, "appid": world.setting("client_id"), "appidacr": "1", "idtyp": "app",
        "oid": world.setting("operator_oid"), "sub": world.setting("operator_oid"), "tid": world.tenant, "ver": "1.0",
    }  # fmt: skip


def test_the_v1_endpoint_writes_numbers_as_texts(world: World, clock: Clock) -> None:
    said = post(world, path="oauth2/token", scope=None, resource="https://management.azure.com/").json()
    claims = jwt.decode(said.pop("access_token"), options={"verify_signature": False})
    assert claims["aud"] == "https://management.azure.com/"  # as asked for, slash and all
    at = int(clock().timestamp())
    assert said == {
        "token_type": "Bearer", "expires_in": "3599", "ext_expires_in": "3599", "not_before": str(at),
        "expires_on": str(at + 3599), "resource": "https://management.azure.com/",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "status", "error", "number", "words"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215, "Invalid client secret provided."),
        ({"client_secret": ""}, 401, "invalid_client", 7000215, "Invalid client secret provided."),
        ({"client_secret": None}, 401, "invalid_client", 7000218, "'client_assertion' or 'client_secret'"),
        ({"client_id": "b" * 8}, 400, "unauthorized_client", 700016, "identifier 'bbbbbbbb' was not found"),
        ({"client_id": None}, 400, "invalid_request", 900144, "parameter: 'client_id'"),
        ({"grant_type": None}, 400, "invalid_request", 900144, "parameter: 'grant_type'"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003, "grant type 'password'"),
        ({"tenant": "contoso.com"}, 400, "invalid_tenant", 90002, "Tenant 'contoso.com' not found."),
        ({"tenant": "common"}, 400, "invalid_request", 50059, "No tenant-identifying information"),
        ({"scope": "https://example.com/.default"}, 400, "invalid_resource", 500011, "example.com was not found"),
        ({"scope": VAULT}, 400, "invalid_scope", 1002012, f"scope {VAULT} is not valid"),
        ({"scope": None}, 400, "invalid_scope", 1002012, "is not valid"),
    ],
)  # fmt: skip
def test_refusals(
    world: World, changed: dict[str, str | None], status: int, error: str, number: int, words: str
) -> None:
    answer = post(world, **changed)  # type: ignore[arg-type]
    said = answer.json()
    assert (answer.status, said["error"], said["error_codes"]) == (status, error, [number])
    assert said["error_description"].startswith(f"AADSTS{number}: ")
    assert words in said["error_description"]
    for name in ("trace_id", "correlation_id", "timestamp"):
        assert said[name] in said["error_description"]
    assert world.setting("client_secret") not in answer.body.decode()


@pytest.mark.parametrize("body", [b"\xff\xfe", b"client_id=%ff&grant_type=x", b"&".join([b"a=1"] * 1000)])
def test_a_body_that_is_no_form_is_refused(world: World, body: bytes) -> None:
    url = f"{LOGIN}/{world.tenant}/oauth2/v2.0/token"
    answer = ask(entra.app(world), "POST", url, body=body, content_type="application/x-www-form-urlencoded")
    assert (answer.status, answer.json()["error"]) == (400, "invalid_request")


def test_discovery(world: World) -> None:
    instance = get(world, "/common/discovery/instance")
    assert instance["metadata"][0]["aliases"] == ["login.microsoftonline.com", "login.windows.net"]
    v1 = get(world, f"/{world.tenant}/.well-known/openid-configuration")
    v2 = get(world, f"/{world.tenant.upper()}/v2.0/.well-known/openid-configuration")
    assert (v1["issuer"], v2["issuer"]) == (f"https://sts.windows.net/{world.tenant}/", f"{LOGIN}/{world.tenant}/v2.0")
    assert v2["token_endpoint"] == f"{LOGIN}/{world.tenant}/oauth2/v2.0/token"
    assert v1["token_endpoint"] == f"{LOGIN}/{world.tenant}/oauth2/token"
    unknown = ask(entra.app(world), "GET", f"{LOGIN}/contoso.com/v2.0/.well-known/openid-configuration")
    assert (unknown.status, unknown.json()["error_codes"]) == (400, [90002])


def test_the_signing_key_and_the_cast_outlive_the_process(world: World, tmp_path: Path, clock: Clock) -> None:
    token = entra.issue_token(world, principal=principal(world), resource=VAULT, lifetime_s=600)
    again = Store(tmp_path / "state.db")
    nobody = cast(Any, None)
    later = World(home=tmp_path, store=again, tls=nobody, silicon=nobody, machines=nobody, now=clock)
    assert ensure_cast(again, clock())["tenant"] == world.tenant
    assert entra.authenticate(later, f"Bearer {token}", audiences=[VAULT]) == principal(world)
    again.close()


def test_a_managed_identity_has_its_resource_in_its_token(world: World) -> None:
    mirid = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/cvm"
    token = entra.issue_token(world, principal=principal(world, mirid), resource=VAULT, lifetime_s=600)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["appidacr"], claims["xms_mirid"]) == ("2", mirid.replace("resourceGroups", "resourcegroups"))
    assert entra.authenticate(world, f"bearer {token}", audiences=[VAULT]).mirid == claims["xms_mirid"]


def reason(world: World, authorization: str | None, audience: str = VAULT) -> str:
    with pytest.raises(entra.TokenRefused) as refused:
        entra.authenticate(world, authorization, audiences=[audience])
    return refused.value.reason


def test_which_bearers_are_refused_and_why(world: World, clock: Clock) -> None:
    token = entra.issue_token(world, principal=principal(world), resource=VAULT, lifetime_s=600)
    assert entra.authenticate(world, f"Bearer {token}", audiences=[VAULT]) == principal(world)
    for absent in (None, "", "Bearer", "Bearer ", f"Basic {token}", token):
        assert reason(world, absent) == "missing"
    assert reason(world, f"Bearer {token}", "https://managedhsm.azure.net") == "audience"
    assert reason(world, f"Bearer {token}", VAULT + "/") == "audience"
    clock.time += timedelta(seconds=599)
    assert entra.authenticate(world, f"Bearer {token}", audiences=[VAULT]) == principal(world)
    clock.time += timedelta(seconds=1)
    assert reason(world, f"Bearer {token}") == "expired"
    clock.time -= timedelta(seconds=600 + 301)
    assert reason(world, f"Bearer {token}") == "expired"  # not yet: more than five minutes early
    foreign = entra.Principal(oid="o", appid="a", tid="00000000-0000-4000-8000-000000000000", mirid=None)
    stranger = entra.issue_token(world, principal=foreign, resource=VAULT, lifetime_s=600)
    assert reason(world, f"Bearer {stranger}") == "issuer"


def test_a_token_that_somebody_else_made_is_refused(world: World) -> None:
    token = entra.issue_token(world, principal=principal(world), resource=VAULT, lifetime_s=600)
    head, body, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    kid = jwt.get_unverified_header(token)["kid"]
    forged = base64.urlsafe_b64encode(json.dumps(claims | {"oid": "x"}).encode()).rstrip(b"=").decode()
    other = rsa.generate_private_key(65537, 2048)
    for bad in (
        f"{head}.{forged}.{signature}",
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{head}.{body}.",
        f"{head}.{body}",
        "not a token",
        "\u00e9.\u00e9.\u00e9",
        jwt.encode(claims, other, algorithm="RS256", headers={"kid": kid}),
        jwt.encode(claims, other, algorithm="RS256", headers={"kid": "another"}),
        jwt.encode(claims, "", algorithm="none", headers={"kid": kid}),
        jwt.encode(claims, "k" * 32, algorithm="HS256", headers={"kid": kid}),
    ):
        assert reason(world, f"Bearer {bad}") == "signature", bad
