"""A case from what people have at hand: the forms in which curl, Azure's SDKs and skrkit show a refusal."""

from __future__ import annotations

import json
import subprocess

import pytest
from azure.core.exceptions import HttpResponseError
from hypothesis import example, given
from hypothesis import strategies as st

from skrkit.diagnosis.case import Case
from skrkit.diagnosis.case_text import case_of_text, request_of_text
from skrkit.diagnosis.explain import explain
from skrkit.errors import ParseError, SkrkitError
from skrkit.services.rest import send_request
from tests.services.answering import answering, plain_cloud

DISABLED = {
    "error": {
        "code": "Forbidden",
        "message": "Operation release is not allowed on a disabled key.",
        "innererror": {"code": "KeyDisabled"},
    }
}
BODY = json.dumps(DISABLED)
URL = "https://contoso.vault.azure.net/keys/payroll/abc/release"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2V4YW1wbGUifQ.c2lnbmF0dXJl"
CURL_I = (
    f"HTTP/1.1 403 Forbidden\r\nDate: Wed, 12 Apr 2023 11:00:00 GMT\r\nContent-Type: application/json\r\n\r\n{BODY}"
)
CURL_V = f"""*   Trying 203.0.113.9:443...
* Connected to contoso.vault.azure.net (203.0.113.9) port 443
> POST /keys/payroll/abc/release?api-version=7.4 HTTP/1.1
> Host: contoso.vault.azure.net
> Authorization: Bearer {TOKEN}
> Content-Type: application/json
>
< HTTP/1.1 403 Forbidden
< Content-Type: application/json; charset=utf-8
< Date: Wed, 12 Apr 2023 11:00:00 GMT
<
{BODY}
* Connection #0 to host contoso.vault.azure.net left intact
"""
DOTNET = f"""Unhandled exception. Azure.RequestFailedException: Operation release is not allowed on a disabled key.
Status: 403 (Forbidden)
ErrorCode: Forbidden

Content:
{BODY}

Headers:
Cache-Control: no-cache
x-ms-keyvault-region: westeurope
"""
GO = f"""POST {URL}
--------------------------------------------------------------------------------
RESPONSE 403: 403 Forbidden
ERROR CODE: Forbidden
--------------------------------------------------------------------------------
{json.dumps(DISABLED, indent=2)}
--------------------------------------------------------------------------------
"""
CLI = """(Forbidden) Operation release is not allowed on a disabled key.
Code: Forbidden
Message: Operation release is not allowed on a disabled key.
Inner error: {
    "code": "KeyDisabled"
}
"""
OWN = """Saved 15 artefacts; x/index.json lists them.
error: release of key payroll at POST https://contoso.vault.azure.net/keys/payroll/abc/release
  expected: the key
  found: HTTP 403 Forbidden/KeyDisabled: Operation release is not allowed on a disabled key.
  fix: Enable the version.
  source: Key Vault: release
"""
SAVED = {
    "request": {
        "line": f"POST {URL}",
        "headers": {"Authorization": f"Bearer {TOKEN}"},
        "body": {"target": TOKEN, "enc": "x"},
    },
    "response": {"status": 403, "headers": {"content-type": "application/json"}, "body": DISABLED},
}
FORMS = {
    "body": BODY,
    "curl -i": CURL_I,
    "curl -v": CURL_V,
    ".NET": DOTNET,
    "Go": GO,
    "az": CLI,
    "skrkit": OWN,
    "saved": json.dumps(SAVED),
    "several": json.dumps([{"response": {"status": 200, "body": {}}}, SAVED]),
    "body as text": json.dumps({"response": {"status": 403, "body": BODY}}),
    "log line": f"2023-04-12T11:00:00Z ERROR release failed: {BODY}",
    "byte order mark": "\ufeff" + BODY,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_refusal_is_understood_in_every_form(form: str) -> None:
    finding = explain(case_of_text(FORMS[form].encode())).findings[0]
    assert (finding.cause.id, finding.certainty) == ("key.disabled", "likely")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "latin-1"])
def test_another_charset_spoils_nothing(encoding: str) -> None:
    data = BODY.replace("disabled key.", "disabled key. Ü").encode(encoding)
    assert explain(case_of_text(data)).findings[0].cause.id == "key.disabled"


def test_what_azure_core_prints_of_a_real_answer() -> None:
    """The text of the exception is azure-core's own, of an answer that came over a socket."""
    with answering(403, BODY.encode()) as server, pytest.raises(HttpResponseError) as caught:
        send_request(plain_cloud(), "POST", f"{server.url}/keys/payroll/release", body={})
    for text in (str(caught.value), repr(caught.value), f"Traceback (most recent call last):\n  …\n{caught.value}"):
        assert explain(case_of_text(text.encode())).findings[0].cause.id == "key.disabled"


def test_an_answer_that_curl_really_dumped() -> None:
    try:
        subprocess.run(["curl", "--version"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("NO CURL: its dump was not read")
    with answering(403, BODY.encode()) as server:
        url = f"{server.url}/keys/k/release"
        dumped = subprocess.run(["curl", "-s", "-i", "-X", "POST", url], capture_output=True, check=True)
    case = case_of_text(dumped.stdout)
    assert (case.exchanges[0].status, explain(case).findings[0].cause.id) == (403, "key.disabled")


def test_time_address_and_token_are_taken_out_of_it() -> None:
    case = case_of_text(CURL_V.encode())
    assert case.at is not None
    assert case.at.isoformat() == "2023-04-12T11:00:00+00:00"
    assert case.exchanges[0].url == "https://contoso.vault.azure.net/keys/payroll/abc/release?api-version=7.4"
    assert case.exchanges[0].service == "vault"
    assert TOKEN not in repr(case)
    saved = case_of_text(json.dumps(SAVED).encode())
    assert saved.token == TOKEN.encode()
    assert TOKEN not in repr(saved.exchanges)


def test_prose_keeps_no_token() -> None:
    case = case_of_text(f"failed with {TOKEN}: no such host contoso.vault.azure.net".encode())
    assert TOKEN not in repr(case)
    assert TOKEN.partition(".")[0] not in repr(case)
    assert explain(case).findings[0].cause.id == "network.vault-name"


def test_a_request_is_put_to_its_answer() -> None:
    last = case_of_text(BODY.encode()).exchanges[-1]
    asked, token = request_of_text(json.dumps({"target": TOKEN, "nonce": "n"}).encode(), last)
    assert (asked.request_body, token) == ({"target": "<left out>", "nonce": "n"}, TOKEN.encode())
    whole, _ = request_of_text(json.dumps(SAVED["request"]).encode(), last)
    assert (whole.method, whole.url) == ("POST", URL)
    with pytest.raises(ParseError):
        request_of_text(b"[]", last)


@pytest.mark.parametrize("data", [b"", b" \n", b"{}", b"[]", b"[1]", b'{"keys": []}', b'{"response": 1}'])
def test_nothing_refused_is_said_to_be_nothing(data: bytes) -> None:
    with pytest.raises(ParseError):
        case_of_text(data)


HOSTILE = [
    b'{"error": ' * 5000,
    b'{"error":{"code":"Forbidden","message":' + b'"x' * 20000,
    b'{"error":' + b"[" * 50000,
    b"HTTP/1.1 403 Forbidden\r\n" * 3000,
    b"HTTP/1.1 999 \r\n\r\n" + b"\x00" * 5000,
    b"(" * 60000,
    b"error: " + b"a at " * 10000,
    b'{"response": {"status": true, "headers": {"a": [1]}, "body": {"error": {"code": [], "message": {}}}}}',
    b'{"error": {"code": "Forbidden", "innererror": {"code": {"x": 1}}}}',
    b'{"error": "x", "error_description": 5}',
    b'{"Error": {"Code": "Forbidden", "Message": 1}}',
    b'{"skrkit_case": 1, "exchanges": [{"status": 403, "url": "https://[::1", "response_body": {"error": 1}}]}',
    b'{"skrkit_case": 1, "vm": {"properties": [], "identity": 5, "id": 7}, "error": {"step": 5, "found": {}}}',
    b'{"skrkit_case": 1, "error": {"step": "nothing.known"}, "claims": {"exp": "x", "x-ms-runtime": {"keys": [5]}}}',
    b"\x1b]0;owned\x07 403 " + "‮".encode() + b' {"error":{"code":"Forbidden"}}',
]


def looked_at(data: bytes) -> Case | None:
    """Read and explain, and show it: the only exceptions are the six."""
    from skrkit.render.explanation import view_of_explanation
    from skrkit.render.layout import lines_of

    try:
        case = case_of_text(data)
    except SkrkitError:
        return None
    explanation = explain(case)
    json.dumps(explanation.fields())
    shown = "".join(part for line in lines_of(view_of_explanation(explanation), 80) for _, part in line)
    assert shown.isprintable()
    return case


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_bytes_are_no_way_in(data: bytes) -> None:
    looked_at(data)


@given(st.binary(max_size=300))
@example(b"{")
@example(b'{"error":')
def test_any_bytes_end_well(data: bytes) -> None:
    looked_at(data)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.sampled_from(["Forbidden", "x", URL, "AccessDenied"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "code", "message", "innererror", "keys", "iss", "properties"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {"skrkit_case": st.just(1)},
        optional={
            name: st.dictionaries(
                st.sampled_from(["step", "found", "where", "properties", "identity", "attributes", "iss"]),
                ANY_JSON,
                max_size=4,
            )
            for name in (
                "error",
                "claims",
                "key",
                "vault",
                "vm",
                "instance",
                "machine",
                "access_token",
                "token_verdict",
            )
        },
    ),
    ANY_JSON,
    st.integers(0, 599),
)
def test_a_lying_case_ends_well(document: dict[str, object], body: object, status: int) -> None:
    exchange = {"status": status, "url": URL, "response_body": body, "response_headers": {"Date": "not a date"}}
    looked_at(json.dumps(document | {"exchanges": [exchange]}).encode())
