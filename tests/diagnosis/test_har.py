"""An HTTP archive as browsers export it, by hand in the form of HAR 1.2: the refusal in it, and no token."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from skrkit.diagnosis.case import Case
from skrkit.diagnosis.case_json import case_text
from skrkit.diagnosis.case_text import case_of_text
from skrkit.diagnosis.explain import explain
from skrkit.errors import ParseError

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2V4YW1wbGUifQ.c2lnbmF0dXJl"
DISABLED = {
    "error": {
        "code": "Forbidden",
        "message": "Operation release is not allowed on a disabled key.",
        "innererror": {"code": "KeyDisabled"},
    }
}


def entry(url: str, status: int, body: str = "", **content: Any) -> dict[str, Any]:
    return {
        "startedDateTime": "2026-01-02T03:04:05.000Z",
        "request": {
            "method": "POST",
            "url": url,
            "headers": [{"name": "Authorization", "value": f"Bearer {TOKEN}"}],
            "postData": {"mimeType": "application/json", "text": json.dumps({"target": TOKEN, "enc": "X"})},
        },
        "response": {
            "status": status,
            "headers": [{"name": "Date", "value": "Fri, 02 Jan 2026 03:04:05 GMT"}],
            "content": {"mimeType": "application/json", "text": body, **content},
        },
    }


def archive(*entries: dict[str, Any]) -> Case:
    return case_of_text(json.dumps({"log": {"version": "1.2", "entries": list(entries)}}).encode())


VAULT = "https://contoso.vault.azure.net/keys/payroll/release"
REFUSED = entry(VAULT, 403, json.dumps(DISABLED))


def test_the_refusal_among_other_requests_is_explained() -> None:
    case = archive(entry("https://example.com/", 404), entry(VAULT, 200), REFUSED, entry("https://example.com/a", 200))
    assert [exchange.status for exchange in case.exchanges] == [200, 403]
    explanation = explain(case)
    assert explanation.findings[0].cause.id == "key.disabled"
    assert explanation.findings[0].where == f"POST {VAULT}"
    assert str(case.at) == "2026-01-02 03:04:05+00:00"


def test_a_success_after_it_is_not_what_was_refused() -> None:
    assert archive(REFUSED, entry(VAULT, 200)).exchanges[-1].status == 403


def test_a_body_in_base64_is_read() -> None:
    text = base64.b64encode(json.dumps(DISABLED).encode()).decode()
    assert explain(archive(entry(VAULT, 403, text, encoding="base64"))).findings[0].cause.id == "key.disabled"


def test_the_attestation_token_is_kept_apart_and_the_access_token_nowhere() -> None:
    case = archive(REFUSED)
    assert case.token == TOKEN.encode()
    assert TOKEN not in case_text(case, with_token=False)
    assert TOKEN not in repr(case)


@pytest.mark.parametrize("entries", [[], None, {}, [1, "x", None]])
def test_an_archive_without_a_request_is_no_case(entries: Any) -> None:
    with pytest.raises(ParseError):
        case_of_text(json.dumps({"log": {"entries": entries}}).encode())


@pytest.mark.parametrize("broken", [{}, {"request": 1, "response": []}, {"response": {"status": True, "headers": {}}}])
def test_an_entry_in_another_form_harms_nothing(broken: dict[str, Any]) -> None:
    assert explain(archive(broken, REFUSED)).findings[0].cause.id == "key.disabled"


def test_binary_data_is_no_case_and_says_who_reads_it() -> None:
    with pytest.raises(ParseError, match="skrkit inspect FILE"):
        case_of_text(bytes(range(256)))
