"""A case as JSON: what is written is read again, and what is not a case is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.diagnosis.case import EVIDENCE_NAMES, Case, Exchange
from skrkit.diagnosis.case_json import MAX_CASE_BYTES, case_from_json, case_text, case_to_json
from skrkit.errors import ParseError

TEXT = st.text(max_size=12)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 60), 1 << 60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)
TEXTS = st.dictionaries(TEXT, TEXT, max_size=3)
EXCHANGES = st.builds(
    Exchange,
    service=st.sampled_from(["", "vault", "imds"]),
    method=TEXT,
    url=TEXT,
    request_headers=TEXTS,
    request_body=JSON,
    status=st.integers(0, 999),
    response_headers=TEXTS,
    response_body=JSON,
    error=TEXT,
)
TIMES = st.integers(0, 1 << 32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
CASES = st.builds(
    Case,
    at=st.none() | TIMES,
    error=OBJECT,
    exchanges=st.lists(EXCHANGES, max_size=3).map(tuple),
    access_token=OBJECT,
    token=st.binary(max_size=40),
    claims=OBJECT,
    token_header=OBJECT,
    token_verdict=OBJECT,
    jwks=st.binary(max_size=40),
    authority=TEXT,
    policy=st.binary(max_size=40),
    key=OBJECT,
    vault=OBJECT,
    vm=OBJECT,
    instance=OBJECT,
    evidence=st.dictionaries(st.sampled_from(EVIDENCE_NAMES), st.binary(max_size=40), max_size=3),
    asked=TEXTS,
    machine=OBJECT,
    world=TEXT,
    faults=st.lists(TEXT, max_size=3).map(tuple),
    amd_roots=TEXTS,
)


@settings(max_examples=60)
@given(CASES)
def test_a_case_is_read_as_it_was_written(case: Case) -> None:
    assert case_from_json(case_text(case, with_token=True)) == case


@given(CASES)
def test_a_signed_token_is_left_out(case: Case) -> None:
    written = case_to_json(case)
    assert "token" not in written
    assert case_from_json(json.dumps(written)).token == b""


def test_a_zone_is_kept() -> None:
    at = datetime(2025, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    assert case_from_json(case_text(Case(at=at))).at == at


def test_what_is_not_known_is_left_out() -> None:
    assert case_to_json(Case()) == {"skrkit_case": 1}


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ({}, "/skrkit_case"),
        ({"skrkit_case": 2}, "/skrkit_case"),
        ({"skrkit_case": True}, "/skrkit_case"),
        ({"skrkit_case": 1, "secret": "x"}, "/secret"),
        ({"skrkit_case": 1, "at": "yesterday"}, "/at"),
        ({"skrkit_case": 1, "at": "2025-01-01T00:00:00"}, "/at"),
        ({"skrkit_case": 1, "at": 1}, "/at"),
        ({"skrkit_case": 1, "error": []}, "/error"),
        ({"skrkit_case": 1, "asked": {"vault": 1}}, "/asked/vault"),
        ({"skrkit_case": 1, "token": "***"}, "/token"),
        ({"skrkit_case": 1, "evidence": {"rootkit": ""}}, "/evidence/rootkit"),
        ({"skrkit_case": 1, "evidence": {"vcek": "***"}}, "/evidence/vcek"),
        ({"skrkit_case": 1, "faults": {}}, "/faults"),
        ({"skrkit_case": 1, "faults": ["key.disabled", 1]}, "/faults/1"),
        ({"skrkit_case": 1, "exchanges": {}}, "/exchanges"),
        ({"skrkit_case": 1, "exchanges": [1]}, "/exchanges/0"),
        ({"skrkit_case": 1, "exchanges": [{"service": "vault"}]}, "/exchanges/0/status"),
        ({"skrkit_case": 1, "exchanges": [{"status": 200, "cookie": ""}]}, "/exchanges/0/cookie"),
        ({"skrkit_case": 1, "exchanges": [{"status": True}]}, "/exchanges/0/status"),
        ({"skrkit_case": 1, "exchanges": [{"status": 1 << 40}]}, "/exchanges/0/status"),
        ({"skrkit_case": 1, "exchanges": [{"status": 0}] * 257}, "/exchanges"),
    ],
)
def test_what_is_no_case_is_refused_by_name(document: dict[str, Any], where: str) -> None:
    with pytest.raises(ParseError) as caught:
        case_from_json(json.dumps(document))
    assert caught.value.where == where


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff\xfe",
        b'{"skrkit_case": 1, "skrkit_case": 1}',
        b'{"skrkit_case": NaN}',
        b'{"skrkit_case": 1, "key": ' + b'{"a":' * 100 + b"1" + b"}" * 101,
        b'{"skrkit_case": 1, "key": ' + b"[" * 100_000,
        b" " * (MAX_CASE_BYTES + 1),
    ],
)
def test_bytes_that_are_none_are_refused(data: bytes) -> None:
    with pytest.raises(ParseError):
        case_from_json(data)


def test_a_token_that_does_not_decode_leaves_its_verdict() -> None:
    written = case_to_json(replace(Case(), token=b"cut off"))
    assert written["token_verdict"]["step"] == "token.truncated"  # type: ignore[index,call-overload]
    assert "cut off" not in json.dumps(written)
