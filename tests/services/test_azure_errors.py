"""What azure-core raises, in skrkit's words: held against answers that a server really gives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseTimeoutError,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import CredentialUnavailableError

from skrkit.diagnosis.catalogue import cause_named
from skrkit.errors import ReleaseRefused, ServiceError, SkrkitError
from skrkit.services.azure_errors import azure_call, first_line, refusal, service_error
from skrkit.services.rest import send_request
from tests.services.answering import answering, plain_cloud


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK waits seconds between its tries: not here."""
    monkeypatch.setattr(RequestsTransport, "sleep", lambda _transport, _seconds: None)


def told(status: int, code: str = "Code", message: str = "Message.", **headers: str) -> tuple[ServiceError, str]:
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    with answering(status, body, **headers) as server:
        return failed("POST", f"{server.url}/a/b?api-version=1&sig=secret", body={}), server.url


def failed(method: str, url: str, body: Any = None) -> ServiceError:
    with pytest.raises(ServiceError) as caught, azure_call("the call"):
        send_request(plain_cloud(), method, url, body=body)
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "fix"),
    [
        (400, "BadParameter", "its message says which part"),
        (401, "Unauthorized", "Sign in again"),
        (403, "Forbidden", "Grant the caller this permission"),
        (404, "VaultNotFound", "Check the name"),
        (409, "ObjectIsDeletedButRecoverable", "recover it"),
        (429, "Throttled", "Retry-After"),
        (500, "InternalServerError", "Try again"),
        (503, "ServiceUnavailable", "Try again"),
    ],
)
def test_a_refusal_says_status_code_request_and_fix(status: int, code: str, fix: str) -> None:
    error, url = told(status, code)
    assert (error.what, error.where, error.expected) == ("the call", f"POST {url}/a/b", "success")
    assert error.found == f"HTTP {status} {code}: Message."
    assert (error.status, error.code) == (status, code)
    assert fix in error.fix
    assert "secret" not in str(error)


def test_a_server_error_carries_its_request_id() -> None:
    error, _ = told(500, x_ms_request_id="1234-5678")
    assert error.fix.endswith("Request id: 1234-5678")


@pytest.mark.parametrize(
    ("body", "found", "code"),
    [
        (
            {"error": "invalid_request", "error_description": "Identity not found"},
            "HTTP 400 invalid_request: Identity not found",
            "invalid_request",
        ),
        ({"error": "Bad request: . X"}, "HTTP 400 : Bad request: . X", ""),
        ({"error": 7}, "HTTP 400 : Operation returned an invalid status 'Bad Request'", ""),
    ],
)
def test_the_flat_shape_of_imds_is_read(body: dict[str, Any], found: str, code: str) -> None:
    with answering(400, json.dumps(body).encode()) as server:
        error = failed("GET", f"{server.url}/metadata/x")
    assert (error.found, error.code) == (found, code)


def test_the_inner_code_says_more() -> None:
    body = {"error": {"code": "Forbidden", "message": "No.", "innererror": {"code": "AccessDenied"}}}
    with answering(403, json.dumps(body).encode()) as server:
        assert failed("GET", server.url).code == "Forbidden/AccessDenied"


@pytest.mark.parametrize("body", [b"", b"<html>busy</html>", b"[]", b'{"error": "flat"}', b"\xff\xfe"])
def test_an_answer_that_is_no_error_document_still_has_its_status(body: bytes) -> None:
    with answering(404, body) as server:
        error = failed("GET", server.url)
    assert error.status == 404
    assert "HTTP 404" in error.found


@pytest.mark.parametrize(
    "error", [ServiceRequestError("Name or service not known"), ServiceResponseTimeoutError("timed out\nmore")]
)
def test_a_network_that_does_not_answer_is_called_that(error: AzureError) -> None:
    said = service_error(error, "the call")
    assert isinstance(said, ServiceError)
    assert (said.where, said.expected, said.status) == ("the network", "an answer", 0)
    assert said.found.startswith(type(error).__name__)
    assert "\n" not in said.found
    assert "proxy" in said.fix


@pytest.mark.parametrize("kind", [ClientAuthenticationError, CredentialUnavailableError])
def test_a_missing_sign_in_is_no_network_trouble(kind: type[AzureError]) -> None:
    said = service_error(kind(message="\nno token\nlong talk"), "the call")
    assert (said.where, said.expected, said.found) == ("the credential", "an access token", "no token")
    assert "az login" in said.fix


def refused(status: int, message: str) -> SkrkitError:
    body = json.dumps({"error": {"code": "Forbidden", "message": message}}).encode()
    with answering(status, body) as server, pytest.raises(HttpResponseError) as caught:
        send_request(plain_cloud(), "POST", f"{server.url}/keys/k/release", body={})
    return refusal(caught.value, "release of key k")


@pytest.mark.parametrize(
    ("message", "fix"),
    [
        ("Target environment attestation does not meet key release policy requirements.", "clause by clause"),
        ("Target environment attestation statement cannot be verified.", "attest again"),
        (
            "The user does not have keys release permission on key vault 'v'.",
            "Add release to the identity's key permissions",
        ),
        ("Operation release is not allowed on a disabled key.", "Enable the version"),
        ("Something else.", "skrkit explain --live"),
    ],
)
def test_each_reason_of_a_refused_release_has_its_own_fix(message: str, fix: str) -> None:
    error = refused(403, message)
    assert isinstance(error, ReleaseRefused)
    assert (error.what, error.expected, error.found) == (
        "release of key k",
        "the key",
        f"HTTP 403 Forbidden: {message}",
    )
    assert error.where.endswith("/keys/k/release")
    assert fix in error.fix


def test_only_a_403_is_a_refusal() -> None:
    error = refused(401, "requirements")
    assert isinstance(error, ServiceError)
    assert error.status == 401


def test_a_long_message_is_cut_and_blank_lines_are_passed_over() -> None:
    assert first_line(" \n\n  words  \nmore") == "words"
    assert len(first_line("x" * 1000)) == 300
    assert first_line("") == ""


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("(invalid_request) Identity not found", "identity.none"),
        ("(invalid_request) Multiple user assigned identities exist, please specify the clientId", "identity.several"),
    ],
)
def test_what_imds_says_through_a_credential_has_the_fix_of_its_cause(said: str, cause: str) -> None:
    """The credential's own words, "no response from the IMDS endpoint", are wrong: IMDS has answered."""
    words = f"ManagedIdentityCredential authentication unavailable, no response from the IMDS endpoint. {said}"
    error = service_error(CredentialUnavailableError(words), "access token of the VM")
    assert error.fix == cause_named(cause).fix
