"""What a recorded exchange shows, and above all what it does not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from azure.core import PipelineClient
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.core.rest import HttpRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.services.recording import HttpExchange, RecordingTransport, digest, recorded, shown_body, shown_headers
from skrkit.services.rest import RestClient
from tests.services.answering import answering, plain_cloud

SECRET = "s3cr3t-bearer-which-nobody-may-see"
NAMES = (
    "access_token",
    "refresh_token",
    "id_token",
    "client_secret",
    "client_assertion",
    "assertion",
    "target",
    "token",
)


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
def test_a_bearer_is_shown_by_its_digest(name: str) -> None:
    assert shown_headers({name: f"Bearer {SECRET}"}) == {name: f"Bearer {digest(SECRET)}"}
    assert SECRET not in str(shown_headers({name: SECRET}))  # without a scheme


@pytest.mark.parametrize(
    "name", ["Cookie", "Set-Cookie", "X-Skrkit-Secret", "Proxy-Authorization", "Azure-AsyncOperation"]
)
def test_a_header_that_nobody_needs_is_not_shown(name: str) -> None:
    assert shown_headers({name: SECRET, "Content-Type": "a/b"}) == {"Content-Type": "a/b"}


@pytest.mark.parametrize("name", [*NAMES, "Access_Token"])
@pytest.mark.parametrize("value", [SECRET, [SECRET], {"jwt": SECRET}])
def test_a_secret_member_is_shown_by_its_digest_at_any_depth(name: str, value: object) -> None:
    body = json.dumps({"a": [{"b": {name: value, "c": "kept"}}]}).encode()
    shown = json.dumps(shown_body(body))
    assert SECRET not in shown
    assert "kept" in shown
    assert "sha256" in shown


def test_the_private_members_of_a_jwk_are_not_shown_and_the_public_ones_are() -> None:
    private = dict.fromkeys(("d", "p", "q", "dp", "dq", "qi", "k", "key_hsm"), SECRET)
    body = {"key": {"kty": "RSA-HSM", "n": "modulus", "e": "AQAB", **private}, "d": "a word"}
    shown = shown_body(json.dumps(body).encode())
    assert SECRET not in json.dumps(shown)
    assert isinstance(shown, dict)
    assert isinstance(shown["key"], dict)
    assert (shown["key"]["n"], shown["d"]) == ("modulus", "a word")


@pytest.mark.parametrize(
    "body", [f"client_secret={SECRET}".encode(), b"\xff" + SECRET.encode(), b'"' + b"x" * 70000 + b'"']
)
def test_of_a_body_that_is_no_json_only_the_size_is_shown(body: bytes) -> None:
    assert shown_body(body) == f"<{len(body)} bytes>"


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
        max_leaves=12,
    ),
    st.sampled_from(NAMES),
)
def test_whatever_stands_around_it_a_secret_is_not_shown(around: object, name: str) -> None:
    assert SECRET not in json.dumps(shown_body(json.dumps([around, {"x": around, name: SECRET}]).encode()))


def test_what_a_client_really_sent_is_recorded_without_its_secrets() -> None:
    seen: list[HttpExchange] = []
    sent = {"target": SECRET, "enc": "e"}
    with answering(200, json.dumps({"access_token": SECRET, "ok": 1}).encode()) as server:
        client: PipelineClient[Any, Any] = PipelineClient(
            server.url, policies=[], transport=RecordingTransport(seen.append)
        )
        request = HttpRequest("POST", f"{server.url}/x", headers={"Authorization": f"Bearer {SECRET}"}, json=sent)
        with client:
            client.send_request(request).raise_for_status()
    assert SECRET in server.seen[0][2]["Authorization"]  # it was sent
    (exchange,) = seen
    shown = exchange.to_json()
    assert SECRET not in json.dumps(shown) + repr(exchange)
    assert isinstance(shown["request"], dict)
    assert isinstance(shown["response"], dict)
    assert shown["request"]["line"] == f"POST {server.url}/x"
    assert shown["request"]["body"] == {"target": digest(SECRET), "enc": "e"}
    assert (shown["response"]["status"], shown["response"]["body"]) == (200, {"access_token": digest(SECRET), "ok": 1})


def _asked_by_a_stream(server_url: str, record: Any) -> bytes:
    cloud = recorded(plain_cloud(), record)
    with RestClient(cloud) as client:
        return client.send("GET", f"{server_url}/y")


def test_of_a_streamed_answer_the_reader_gets_the_body_and_the_record_says_so() -> None:
    seen: list[HttpExchange] = []
    with answering(200, b'{"a": 1}', Retry_After="7") as server:
        assert _asked_by_a_stream(server.url, seen.append) == b'{"a": 1}'
    assert [(one.status, one.response_body) for one in seen] == [(200, "<a stream, not kept>")]
    assert seen[0].response_headers["Retry-After"] == "7"


def test_a_refusal_that_is_no_json_is_kept_as_text_without_its_tokens() -> None:
    seen: list[HttpExchange] = []
    token = "eyJhbGciOiJSUzI1NiJ9.eyJvaWQiOiJ4In0.c2ln"
    page = f"<html>Blocked by the proxy {token}</html>".encode() + b"x" * 9000
    with answering(403, page, Content_Type="text/html", Via="1.1 corp") as server, pytest.raises(HttpResponseError):
        _asked_by_a_stream(server.url, seen.append)
    (exchange,) = seen
    assert str(exchange.response_body).startswith(f"<html>Blocked by the proxy {digest(token)}</html>")
    assert len(str(exchange.response_body)) == 2000
    assert exchange.response_headers["Via"] == "1.1 corp"


def test_a_request_without_an_answer_is_recorded_with_its_reason() -> None:
    seen: list[HttpExchange] = []
    with answering() as server:
        url = server.url
    cloud = replace(plain_cloud(), settings={"retry_total": 0})
    with pytest.raises(ServiceRequestError), RestClient(recorded(cloud, seen.append)) as client:
        client.send("GET", f"{url}/z")  # nobody listens there any more
    (exchange,) = seen
    assert (exchange.status, exchange.url) == (0, f"{url}/z")
    assert exchange.error.startswith("ServiceRequestError: ")
    shown = exchange.to_json()["response"]
    assert isinstance(shown, dict)
    assert shown["error"] == exchange.error


def test_a_digest_tells_two_secrets_apart_and_holds_neither() -> None:
    assert digest("a") != digest("b")
    assert digest("abc") == "<sha256 ba7816bf…, 3 characters>"  # FIPS 180-4's example
