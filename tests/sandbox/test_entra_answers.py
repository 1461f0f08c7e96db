"""Entra ID's token endpoint to the letter: claims of a token, members of each answer, words of each refusal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import jwt
import pytest

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
