"""Entra ID's documents and answers, against OpenID Connect Discovery 1.0, RFC 6749, RFC 7517 and RFC 7519."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import jwt
import pytest
from cryptography import x509

from skrkit.sandbox import entra
from skrkit.sandbox.world import World
from tests.sandbox.maa.asgi_call import Answer, ask
from tests.sandbox.test_entra_answers import LOGIN, VAULT, clock, get, post, world

__all__ = ["clock", "world"]  # fixtures of another module

REQUIRED = {  # OpenID Connect Discovery 1.0 section 3, and what each holds
    "issuer": str, "authorization_endpoint": str, "token_endpoint": str, "jwks_uri": str,
    "response_types_supported": list, "subject_types_supported": list,
    "id_token_signing_alg_values_supported": list,
}  # fmt: skip
ERRORS = {  # RFC 6749 section 5.2, and Entra's own two
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
    "invalid_scope", "invalid_resource", "invalid_tenant",
}  # fmt: skip
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")
DOCUMENTS = [(version, tenant) for version in ("", "v2.0/") for tenant in ("{own}", "common", "organizations")]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (f"{LOGIN}/common/oauth2/authorize", f"{LOGIN}/common/.well-known/openid-configuration"),  # as recorded
        (f"{LOGIN}/common/oauth2/v2.0/authorize", f"{LOGIN}/common/v2.0/.well-known/openid-configuration"),
        ("", f"{LOGIN}/common/.well-known/openid-configuration"),
    ],
)
def test_instance_discovery_leads_to_the_authority_that_is_asked_for(world: World, asked: str, found: str) -> None:
    query = urlencode({"api-version": "1.1", "authorization_endpoint": asked})
    said = get(world, f"/common/discovery/instance?{query}")
    assert said["tenant_discovery_endpoint"] == found
    own = said["metadata"][0]
    assert (own["preferred_network"], own["preferred_cache"]) == (LOGIN.removeprefix("https://"), "login.windows.net")
    assert {"login.windows.net", "login.microsoft.com", "sts.windows.net"} < set(own["aliases"])
    assert get(world, urlsplit(found).path)["token_endpoint"].startswith(LOGIN)


@pytest.mark.parametrize(("version", "tenant"), DOCUMENTS)
def test_a_discovery_document_has_what_is_required(world: World, version: str, tenant: str) -> None:
    asked = tenant.format(own=world.tenant)
    document = get(world, f"/{asked}/{version}.well-known/openid-configuration")
    for name, kind in REQUIRED.items():
        assert isinstance(document[name], kind), name
    assert all(isinstance(each, str) for value in document.values() if isinstance(value, list) for each in value)
    assert "RS256" in document["id_token_signing_alg_values_supported"]
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        assert urlsplit(document[name])[:2] == ("https", "login.microsoftonline.com")
    named = asked if asked == world.tenant else "{tenantid}"  # whoever reads it puts the token's own tenant there
    issuer = f"{LOGIN}/{named}/v2.0" if version else f"https://sts.windows.net/{named}/"
    assert document["issuer"] == issuer


def test_the_v2_issuer_is_where_its_document_is(world: World) -> None:
    """OpenID Connect Discovery section 4.3: the issuer is the address that the document was read from."""
    path = f"/{world.tenant}/v2.0"
    assert get(world, f"{path}/.well-known/openid-configuration")["issuer"] == LOGIN + path


def test_the_keys_are_json_web_keys(world: World) -> None:
    """RFC 7517: members of an RSA key, an `x5c` of the same key, and an `x5t` that is its SHA-1 (section 4.8)."""
    (key,) = get(world, f"/{world.tenant}/discovery/v2.0/keys")["keys"]
    assert (key["kty"], key["use"]) == ("RSA", "sig")
    (entry,) = key["x5c"]
    der = base64.b64decode(entry, validate=True)
    thumbprint = base64.urlsafe_b64encode(hashlib.sha1(der).digest()).rstrip(b"=").decode()
    assert key["x5t"] == key["kid"] == thumbprint
    certificate = x509.load_der_x509_certificate(der)
    published = jwt.PyJWK(key, "RS256").key
    assert certificate.public_key() == published
    certificate.verify_directly_issued_by(certificate)
    header = jwt.get_unverified_header(post(world).json()["access_token"])
    assert (header["kid"], header["x5t"]) == (key["kid"], key["x5t"])


def test_a_token_answer(world: World) -> None:
    """RFC 6749 section 5.1: members, `expires_in` a number, and nobody keeps the answer."""
    answer = post(world)
    said = answer.json()
    assert isinstance(said["access_token"], str)
    assert said["token_type"].lower() == "bearer"
    assert type(said["expires_in"]) is int
    assert "no-store" in answer.headers["cache-control"]
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize(
    "changed",
    [
        {"client_secret": "wrong"}, {"client_secret": None}, {"client_id": 'say "no\\'}, {"client_id": None},
        {"grant_type": None}, {"grant_type": "password\n"}, {"tenant": "contoso.com"}, {"tenant": "common"},
        {"scope": 'https://é.example/"/.default'}, {"scope": None},
    ],
)  # fmt: skip
def test_an_error_answer(world: World, changed: dict[str, str | None]) -> None:
    """RFC 6749 section 5.2: 400, or 401 for a client that did not prove itself; a known error; printable ASCII."""
    answer = post(world, **changed)  # type: ignore[arg-type]
    said = answer.json()
    assert said["error"] in ERRORS
    assert answer.status == (401 if said["error"] == "invalid_client" else 400)
    assert DESCRIPTION.fullmatch(said["error_description"])
    assert "no-store" in answer.headers["cache-control"]


def basic(world: World, authorization: str) -> Answer:
    body = urlencode({"grant_type": "client_credentials", "scope": f"{VAULT}/.default"}).encode()
    url = f"{LOGIN}/{world.tenant}/oauth2/v2.0/token"
    return ask(
        entra.app(world), "POST", url, body=body, content_type="application/x-www-form-urlencoded",
        authorization=authorization,
    )  # fmt: skip


def encoded(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()


def test_a_client_may_use_http_basic(world: World) -> None:
    """RFC 6749 section 2.3.1: a server must take it; the discovery document says that it does."""
    methods = get(world, f"/{world.tenant}/v2.0/.well-known/openid-configuration")
    assert "client_secret_basic" in methods["token_endpoint_auth_methods_supported"]
    client_id = world.setting("client_id")
    answer = basic(world, encoded(client_id, world.setting("client_secret")))
    assert answer.status == 200
    claims: Any = jwt.decode(answer.json()["access_token"], options={"verify_signature": False})
    assert claims["appid"] == client_id


@pytest.mark.parametrize("text", ["Basic !", "Basic bm8=", "Basic", "Basic 4oKsOjE="])
def test_http_basic_that_holds_nothing(world: World, text: str) -> None:
    """A 401 to it names the scheme (RFC 6749 section 5.2)."""
    answer = basic(world, text)
    assert (answer.status, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")
    wrong = basic(world, encoded(world.setting("client_id"), "wrong"))
    assert (wrong.status, wrong.json()["error_codes"]) == (401, [7000215])
    assert wrong.headers["www-authenticate"].startswith("Basic ")
