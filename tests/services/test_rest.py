"""One REST call: what is sent, which answers are errors, and which way it takes."""

from __future__ import annotations

import json

import pytest
from azure.core.exceptions import HttpResponseError

from skrkit.errors import ServiceError
from skrkit.services import rest
from skrkit.services.rest import send_request
from tests.services.answering import answering, plain_cloud

NOBODY = "http://127.0.0.1:9"  # the discard port, where no proxy listens


def test_a_body_is_sent_as_json_and_the_answer_comes_back_as_bytes() -> None:
    with answering(body=b'{"a": 1}') as server:
        assert send_request(plain_cloud(), "POST", f"{server.url}/x?y=1", body={"b": 2}) == b'{"a": 1}'
    ((method, path, headers, body),) = server.seen
    assert (method, path, headers["Content-Type"]) == ("POST", "/x?y=1", "application/json")
    assert json.loads(body) == {"b": 2}
    assert "skrkit" in headers["User-Agent"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_an_error_and_not_followed(status: int) -> None:
    with answering(status, Location=f"{NOBODY}/elsewhere") as server, pytest.raises(HttpResponseError) as caught:
        send_request(plain_cloud(), "POST", server.url, body={})
    assert caught.value.status_code == status
    assert len(server.seen) == 1


def test_an_answer_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "MAX_RESPONSE_BYTES", 100)
    with answering(body=b"x" * 101) as server, pytest.raises(ServiceError) as caught:
        send_request(plain_cloud(), "GET", f"{server.url}/big?secret=1")
    assert (caught.value.where, caught.value.expected) == (f"GET {server.url}/big", "at most 100 bytes")
    with answering(body=b"x" * 100) as server:
        assert len(send_request(plain_cloud(), "GET", server.url)) == 100


def test_imds_is_asked_past_every_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, NOBODY)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with answering(body=b"here") as server:
        assert send_request(plain_cloud(), "GET", server.url, link_local=True) == b"here"
