"""Policies, claims and whether a vault releases, V01 to V28; policies that it refuses, M1 to M11.

Each is as firm as its source: "doc" follows from Azure's policy grammar, "live" from recorded traffic, "sample" is of a
published sample that works, "inf" is inferred.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from skrkit.errors import PolicyError
from skrkit.policy.evaluate import evaluate
from skrkit.policy.parse import decode_policy, encode_policy, parse_policy
from skrkit.wire import Json

A = "https://attest-a.example"
B = "https://attest-b.example"


def c(claim: str, value: Json) -> dict[str, Any]:
    return {"claim": claim, "equals": value}


def policy(*authorities: dict[str, Any]) -> bytes:
    return json.dumps({"version": "1.0.0", "anyOf": authorities}).encode()


def all_of(authority: str, *conditions: Any) -> dict[str, Any]:
    return {"authority": authority, "allOf": list(conditions)}


def any_of(authority: str, *conditions: Any) -> dict[str, Any]:
    return {"authority": authority, "anyOf": list(conditions)}


TYPE = "x-ms-attestation-type"
STATUS = "x-ms-compliance-status"
TEE = "x-ms-isolation-tee"
V01 = policy(all_of(A, c(TYPE, "sevsnpvm")))
V05_CLAIMS: dict[str, Json] = {"iss": A, TEE: {STATUS: "azure-compliant-cvm"}}
V07 = policy(all_of(A, c("k1", "a"), c("k2", "b")))
V08 = policy(any_of(A, c("k1", "a"), c("k2", "b")))
V09 = policy(all_of(A, c("k1", "a"), {"anyOf": [c("k2", "b"), c("k3", "c")]}))
V11 = policy(any_of(A, {"allOf": [c("k1", "a"), c("k2", "b")]}, c("k3", "c")))
V12 = policy(all_of(A, c("k1", "a")), all_of(B, c("k1", "b")))
V14 = policy(all_of(A, c("k1", "a")), all_of(A, c("k1", "b")))
V17 = policy(all_of(A, c("d", "false")))
K1 = policy(all_of(A, c("k1", "a")))
V28 = policy(all_of(A, {"anyOf": [{"allOf": [{"anyOf": [c("z", "1")]}]}]}))

VECTORS: list[tuple[str, bytes, dict[str, Json], bool, str]] = [
    ("V01", V01, {"iss": A, TYPE: "sevsnpvm"}, True, "doc"),
    ("V02", V01, {"iss": B, TYPE: "sevsnpvm"}, False, "doc"),
    ("V03", V01, {"iss": A, TYPE: "tdxvm"}, False, "doc"),
    ("V04", V01, {"iss": A}, False, "doc"),
    ("V05", policy(all_of(A, c(f"{TEE}.{STATUS}", "azure-compliant-cvm"))), V05_CLAIMS, True, "doc"),
    ("V06", policy(all_of(A, c(STATUS, "azure-compliant-cvm"))), V05_CLAIMS, False, "doc"),
    ("V07", V07, {"iss": A, "k1": "a", "k2": "c"}, False, "doc"),
    ("V08", V08, {"iss": A, "k1": "x", "k2": "b"}, True, "doc"),
    ("V09", V09, {"iss": A, "k1": "a", "k3": "c"}, True, "doc"),
    ("V10", V09, {"iss": A, "k1": "a", "k2": "x"}, False, "doc"),
    ("V11", V11, {"iss": A, "k1": "a", "k2": "z", "k3": "c"}, True, "doc"),
    ("V12", V12, {"iss": B, "k1": "b"}, True, "doc"),
    ("V13", V12, {"iss": B, "k1": "a"}, False, "doc"),
    ("V14", V14, {"iss": A, "k1": "b"}, True, "doc"),
    ("V15", policy(all_of(A, c("sdk-test", True))), {"iss": A, "sdk-test": True}, True, "live"),
    ("V16", policy(all_of(A, c("sdk-test", "true"))), {"iss": A, "sdk-test": True}, True, "live"),
    ("V17", V17, {"iss": A, "d": False}, True, "sample"),
    ("V18", V17, {"iss": A}, False, "doc"),
    ("V19", policy(all_of(A, c("vmpl", "0"))), {"iss": A, "vmpl": 0}, True, "sample"),
    ("V20", policy(all_of(A, c("vmpl", 0))), {"iss": A, "vmpl": 0}, True, "doc"),
    ("V21", K1, {"iss": A, "k1": ["a"]}, False, "inf"),
    ("V22", K1, {"iss": A, "k1": {"a": 1}}, False, "doc"),
    ("V23", K1, {"iss": A, "K1": "a"}, False, "inf"),
    ("V24", K1, {"iss": A, "k1": "A"}, False, "inf"),
    ("V25", policy(all_of(f"{A}/", c("k1", "a"))), {"iss": A, "k1": "a"}, True, "inf"),
    ("V26", policy(all_of(A, c("a.b", "v"))), {"iss": A, "a.b": "v"}, False, "inf"),
    ("V27", policy(all_of(A, c("a.b.c", 7))), {"iss": A, "a": {"b": {"c": 7}}}, True, "doc"),
    ("V28", V28, {"iss": A, "z": "1"}, True, "doc"),
]


@pytest.mark.parametrize(
    ("text", "claims", "releases"),
    [pytest.param(text, claims, releases, id=f"{name}-{mark}") for name, text, claims, releases, mark in VECTORS],
)
def test_vector(text: bytes, claims: dict[str, Json], releases: bool) -> None:
    assert evaluate(parse_policy(text), claims).holds is releases
    # the same through the encoding that the service takes
    assert evaluate(decode_policy(encode_policy(parse_policy(text))), claims).holds is releases


def test_there_are_28_vectors_in_order() -> None:
    assert [name for name, *_ in VECTORS] == [f"V{number:02}" for number in range(1, 29)]


def document(**members: Any) -> str:
    return json.dumps({"version": "1.0.0", **members})


TWO_RULES = {**all_of(A, c("a", 1)), "anyOf": [c("a", 1)]}
TWO_OPERATORS = {"claim": "a", "equals": 1, "less": 2}
UNKNOWN_OPERATOR = {"claim": "a", "matches": "b"}

MALFORMED: list[tuple[str, str, str, str, str]] = [
    ("M2", "[]", '""', "a JSON object", "a JSON array"),
    ("M3", document(), "/anyOf", "an array of at least one", "nothing"),
    ("M4", document(anyOf=[]), "/anyOf", "an array of at least one", "an empty array"),
    (
        "M5",
        document(anyOf=[TWO_RULES]),
        "/anyOf/0",
        "one of anyOf and allOf",
        "both",
    ),
    ("M6", document(anyOf=[{"authority": A}]), "/anyOf/0", "one of anyOf and allOf", "neither"),
    ("M7", document(anyOf=[all_of(A, {"claim": "a"})]), "/anyOf/0/allOf/0", "one operator", "none"),
    ("M8", document(anyOf=[all_of(A, c("a", {}))]), "/anyOf/0/allOf/0/equals", "a text, a number", "a JSON object"),
    (
        "M9",
        document(anyOf=[all_of(A, UNKNOWN_OPERATOR)]),
        "/anyOf/0/allOf/0/matches",
        "equals",
        "matches",
    ),
    ("M10", json.dumps({"anyOf": [all_of(A, c("a", 1))]}), "/version", '"1.0.0"', "nothing"),
    ("M11", document(allOf=[all_of(A, c("a", 1))]), "/allOf", "anyOf, version", "allOf"),
    ("null", document(anyOf=[all_of(A, c("a", None))]), "/anyOf/0/allOf/0/equals", "a text", "a JSON null"),
    ("array", document(anyOf=[all_of(A, c("a", ["b"]))]), "/anyOf/0/allOf/0/equals", "a text", "a JSON array"),
    ("infinite", document(anyOf=[all_of(A, c("a", 1))]).replace('": 1}', '": 1e999}'), "/equals", "a text", "range"),
    (
        "two",
        document(anyOf=[all_of(A, TWO_OPERATORS)]),
        "/anyOf/0/allOf/0",
        "one",
        "equals and",
    ),
    ("clause", document(anyOf=[{**all_of(A, c("a", 1)), "note": 1}]), "/anyOf/0/note", "no other member", "note"),
    ("top", document(anyOf=[all_of(A, c("a", 1))], note=1), "/note", "no other member", "note"),
    ("version", json.dumps({"version": "0.2", "anyOf": []}), "/version", '"1.0.0"', '"0.2"'),
    ("lower", document(anyof=[]), "/anyof", "anyOf", "anyof"),
    ("both", document(anyOf=[all_of(A, {**c("a", 1), "anyOf": []})]), "/anyOf/0/allOf/0/anyOf", "no other", "anyOf"),
    ("old", document(anyOf=[all_of(A, {**c("a", 1), "condition": "equals"})]), "/condition", "no other", "condition"),
    ("empty claim", document(anyOf=[all_of(A, c("a..b", 1))]), "/anyOf/0/allOf/0/claim", "a claim's name", '"a..b"'),
    ("no claim", document(anyOf=[all_of(A, {"equals": 1})]), "/anyOf/0/allOf/0/claim", "a claim's name", "nothing"),
    ("no authority", document(anyOf=[{"allOf": [c("a", 1)]}]), "/anyOf/0/authority", "the provider's URL", "nothing"),
    ("text", document(anyOf=["a"]), "/anyOf/0", "authority", "a JSON string"),
    ("twice", '{"version":"1.0.0","version":"1.0.0"}', '""', "no member twice", "'version' twice"),
    ("exists", document(anyOf=[all_of(A, {"claim": "a", "exists": 3})]), "/exists", "true or false", "3"),
    ("surrogate", document(anyOf=[all_of("\\ud800", c("a", 1))]).replace("\\\\", "\\"), '""', "UTF-8", "U+D800"),
]


@pytest.mark.parametrize(
    ("text", "where", "expected", "found"), [pytest.param(*row, id=name) for name, *row in MALFORMED]
)
def test_malformed_policy_is_refused_where_it_is_wrong(text: str, where: str, expected: str, found: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    error = caught.value
    assert error.where.endswith(where) or error.where.startswith(where)
    assert expected in error.expected
    assert found in error.found
    assert error.fix


def test_m1_data_that_is_not_base64url() -> None:
    for text in ('{"version":"1.0.0"}', "e30=", "e3+/", "a", "é"):
        with pytest.raises(PolicyError) as caught:
            decode_policy(text)
        assert caught.value.where == "/release_policy/data"
        assert "base64url" in caught.value.expected


def test_nesting_beyond_the_bound_is_refused_by_name() -> None:
    group: Any = c("a", 1)
    for _ in range(32):
        group = {"anyOf": [group]}
    with pytest.raises(PolicyError) as caught:
        parse_policy(policy(all_of(A, group)))
    assert "32" in caught.value.expected


COMPACT = (
    b'{"version":"1.0.0","anyOf":[{"authority":"https://attest-a.example",'
    b'"allOf":[{"claim":"x-ms-attestation-type","equals":"sevsnpvm"}]}]}'
)
VAULT_FORM = (
    "eyJ2ZXJzaW9uIjoiMS4wLjAiLCJhbnlPZiI6W3siYXV0aG9yaXR5IjoiaHR0cHM6Ly9hdHRlc3QtYS5leGFtcGxlIiwiYWxsT2YiOlt7ImNs"
    "YWltIjoieC1tcy1hdHRlc3RhdGlvbi10eXBlIiwiZXF1YWxzIjoic2V2c25wdm0ifV19XX0"
)
MHSM_FORM = (
    "eyJhbnlPZiI6W3siYWxsT2YiOlt7ImNsYWltIjoieC1tcy1hdHRlc3RhdGlvbi10eXBlIiwiZXF1YWxzIjoic2V2c25wdm0ifV0sImF1dGhv"
    "cml0eSI6Imh0dHBzOi8vYXR0ZXN0LWEuZXhhbXBsZSJ9XSwidmVyc2lvbiI6IjEuMC4wIn0"
)


def test_encoding_vectors() -> None:
    assert len(COMPACT) == 134
    pretty = json.dumps(json.loads(COMPACT), indent=2)
    assert encode_policy(parse_policy(pretty)) == VAULT_FORM
    sorted_policy = decode_policy(MHSM_FORM)
    assert encode_policy(sorted_policy) == MHSM_FORM
    assert sorted_policy == decode_policy(VAULT_FORM) == parse_policy(pretty)
    assert sorted_policy.fields() == json.loads(COMPACT)


def test_rewritten_booleans_do_not_make_another_policy() -> None:
    sent, stored = (parse_policy(policy(all_of(A, c("sdk-test", value)))) for value in (True, "true"))
    assert sent == stored
    assert sent.root == stored.root
    assert sent.fields() != stored.fields()
    assert sent != parse_policy(policy(all_of(A, c("sdk-test", "True"))))
