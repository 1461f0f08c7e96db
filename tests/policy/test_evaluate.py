"""The decision tree: every answer kept, the reason for each no, and nothing released by accident."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.errors import PolicyError, UsageError
from skrkit.policy import evaluate as evaluation
from skrkit.policy.evaluate import Leaf, evaluate
from skrkit.policy.model import ReleasePolicy, scalar_text
from skrkit.policy.parse import decode_policy, encode_policy, parse_policy
from skrkit.policy.templates import cvm_policy
from skrkit.release.response import parse_release_response
from skrkit.token.decode import decode_jwt
from skrkit.wire import Described, Json

A = "https://attest-a.example"
CAPTURE = "maa-token-and-akv-release"


def one(condition: dict[str, Any], authority: str = A) -> ReleasePolicy:
    return parse_policy(json.dumps({"version": "1.0.0", "anyOf": [{"authority": authority, "allOf": [condition]}]}))


def leaf(condition: dict[str, Any], claims: dict[str, Json], *, extended: bool = False) -> Leaf:
    (only,) = evaluate(one(condition), {"iss": A, **claims}, extended_operators=extended).leaves()
    return only


def captured_claims(captures: Path) -> dict[str, Json]:
    return decode_jwt((captures / CAPTURE / "maa-token.jwt").read_bytes()).claims


def test_the_captured_policy_releases_for_the_captured_token(captures: Path) -> None:
    response = parse_release_response((captures / CAPTURE / "release-response.json").read_bytes())
    policy = decode_policy(str(response.release_policy["data"]))
    assert policy == cvm_policy("https://sharedweu.weu.attest.azure.net/")
    assert encode_policy(policy) == response.release_policy["data"]
    decision = evaluate(policy, captured_claims(captures))
    assert decision.holds
    assert [(item.pointer, item.found) for item in decision.leaves()] == [
        ("/anyOf/0/allOf/0", "sevsnpvm"),
        ("/anyOf/0/allOf/1", "azure-compliant-cvm"),
    ]


def test_a_platform_policy_on_a_guest_token_says_where_the_claims_are(captures: Path) -> None:
    policy = cvm_policy("https://sharedweu.weu.attest.azure.net", guest=False)
    decision = evaluate(policy, captured_claims(captures))
    assert not decision.holds
    kind, status = decision.leaves()
    assert (kind.found, kind.nearest) == ("azurevm", "x-ms-isolation-tee.x-ms-attestation-type")
    assert kind.hint == "the value differs; x-ms-isolation-tee.x-ms-attestation-type has the one asked for"
    assert (status.present, status.nearest) == (False, "x-ms-isolation-tee.x-ms-compliance-status")
    assert status.hint == "the claim stands elsewhere: x-ms-isolation-tee.x-ms-compliance-status"


@pytest.mark.parametrize(
    ("expected", "found", "hint"),
    [
        ("a", "A", "case differs"),
        ("True", True, 'the claim is a boolean: write true or "true" in lower case'),
        ("yes", True, "the claim is a JSON boolean, the policy asks for 'yes'"),
        ("true", "yes", "the claim is a JSON string, the policy asks for 'true'"),
        ("https://x/", "https://x", "a trailing slash differs"),
        ("a ", "a", "white space differs"),
        ("a", "b", "the value differs"),
        ("a", ["a"], "the claim is a JSON array: only texts, numbers and booleans are compared"),
        ("a", {"b": 1}, "the claim is a JSON object: only texts, numbers and booleans are compared"),
        ("null", None, "the claim is a JSON null: only texts, numbers and booleans are compared"),
    ],
)
def test_the_reason_for_a_no_in_few_words(expected: Json, found: Json, hint: str) -> None:
    answer = leaf({"claim": "c", "equals": expected}, {"c": found})
    assert not answer.holds
    assert answer.hint == hint
    assert answer.expected == expected
    assert answer.found == found
    assert answer.present


@pytest.mark.parametrize(
    ("claim", "claims", "nearest", "hint"),
    [
        ("k1", {"K1": 1}, "K1", "case differs: the token has K1"),
        ("tee.k1", {"k1": 1}, "k1", "the claim stands elsewhere: k1"),
        ("k1", {"a": {"b": {"k1": 1}}}, "a.b.k1", "the claim stands elsewhere: a.b.k1"),
        ("x-ms-atestation-type", {"x-ms-attestation-type": 1}, "x-ms-attestation-type", "the token has no such claim"),
        ("zzz", {"k1": 1}, None, "the token has no such claim"),
        ("a.b", {"a.b": 1}, None, "a claim whose own name has a dot cannot be addressed: the path is split there"),
        ("a.b", {"a": 1}, None, "the token has no such claim"),
    ],
)
def test_the_nearest_claim_of_one_that_is_absent(
    claim: str, claims: dict[str, Json], nearest: str | None, hint: str
) -> None:
    answer = leaf({"claim": claim, "equals": 1}, claims)
    assert not answer.holds
    assert not answer.present
    assert answer.found is None
    assert answer.hint.startswith(hint)
    if nearest is not None or "." not in claim:
        assert answer.nearest == nearest


@pytest.mark.parametrize(
    ("authority", "issuer", "hint"),
    [
        (A, "https://attest-b.example", "the token is of another authority"),
        (A, "http://attest-a.example", "the scheme differs: an authority is https"),
        (A, "https://attest-a.example//", "more than one trailing slash differs"),
        (f"{A}/Path", f"{A}/path", "case differs"),
        (A, None, "the token has no iss"),
        (A, "", "the token has no iss"),
        (A, 7, "the token has no iss"),
    ],
)
def test_an_authority_that_does_not_apply_asks_nothing(authority: str, issuer: Json, hint: str) -> None:
    decision = evaluate(one({"claim": "c", "equals": 1}, authority), {"iss": issuer, "c": 1})
    (clause,) = decision.children
    assert not isinstance(clause, Leaf)
    assert (decision.holds, clause.holds, clause.children) == (False, False, ())
    assert (clause.authority, clause.issuer, clause.hint) == (authority, issuer, hint)


@pytest.mark.parametrize(("authority", "issuer"), [(f"{A}/", A), (A, f"{A}/"), ("HTTPS://Attest-A.example", A)])
def test_a_trailing_slash_and_the_hosts_case_are_no_other_authority(authority: str, issuer: str) -> None:
    decision = evaluate(one({"claim": "c", "equals": 1}, authority), {"iss": issuer, "c": 1})
    assert decision.holds
    assert decision.children[0].hint == ""


EXTENDED: list[tuple[str, Json, dict[str, Json], bool]] = [
    ("notEquals", "a", {"c": "b"}, True),
    ("notEquals", "a", {"c": "a"}, False),
    ("notEquals", "a", {}, False),
    ("notEquals", "a", {"c": ["b"]}, False),
    ("less", 2, {"c": 1}, True),
    ("less", 2, {"c": 2}, False),
    ("less", "10", {"c": "9"}, True),
    ("lessOrEquals", 2, {"c": 2}, True),
    ("greater", 1, {"c": 2}, True),
    ("greater", 1, {"c": True}, False),
    ("greater", 1, {"c": "nan"}, False),
    ("greater", 1, {"c": "1_0"}, False),
    ("greaterOrEquals", 1.5, {"c": "1.5"}, True),
    ("greaterOrEquals", 1, {}, False),
    ("exists", True, {"c": None}, True),
    ("exists", True, {}, False),
    ("exists", False, {}, True),
    ("exists", "false", {"c": 1}, False),
]


@pytest.mark.parametrize(("operator", "value", "claims", "holds"), EXTENDED)
def test_other_operators_hold_only_when_asked_for(
    operator: str, value: Json, claims: dict[str, Json], holds: bool
) -> None:
    condition = {"claim": "c", operator: value}
    as_documented = leaf(condition, claims)
    assert not as_documented.holds
    assert as_documented.hint == f"the service documents equals alone; {operator} counts as not met"
    extended = leaf(condition, claims, extended=True)
    assert extended.holds is holds
    assert bool(extended.hint) is not holds


def test_nearest_is_looked_up_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(evaluation, "nearest_claim", lambda path, claims: asked.append(path))
    decision = evaluate(one({"claim": "c", "equals": 1}), {"iss": A})
    assert not decision.holds
    assert asked == []
    assert next(decision.leaves()).nearest is None
    assert asked == ["c"]


def test_a_token_that_nobody_verified_is_refused(captures: Path) -> None:
    token = decode_jwt((captures / CAPTURE / "maa-token.jwt").read_bytes())
    with pytest.raises(UsageError) as caught:
        evaluate(cvm_policy(A), token)  # type: ignore[arg-type]  # the point: mypy refuses it too
    assert caught.value.found == "UnverifiedToken"


def test_decision_and_policy_show_themselves_as_json() -> None:
    policy = cvm_policy(A)
    assert isinstance(policy, Described)
    assert policy.raw == policy.compact
    assert policy.spans() == ()
    tree = evaluate(policy, {"iss": A, "x-ms-isolation-tee": {"x-ms-attestation-type": "sevsnpvm"}}).to_json()
    assert json.loads(json.dumps(tree)) == tree
    group = tree["children"][0]["children"][0]  # type: ignore[index,call-overload]  # a JSON tree
    assert [item["holds"] for item in group["children"]] == [True, False]  # type: ignore[index,call-overload,union-attr]


@pytest.mark.parametrize("authority", ["http://a", "https://", "a", "", "https://a/b", "https://a@b", "https://a b"])
def test_a_template_wants_a_providers_url(authority: str) -> None:
    with pytest.raises(UsageError) as caught:
        cvm_policy(authority)
    assert caught.value.found == repr(authority)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (1e300, "1e+300"),
        (float("inf"), None),
        (float("nan"), None),
        (None, None),
    ],
)
def test_the_normal_form_of_a_scalar(value: Json, text: str | None) -> None:
    assert scalar_text(value) == text


scalars = st.one_of(st.text(max_size=5), st.integers(-3, 3), st.booleans(), st.floats(-2, 2), st.none())
names = st.sampled_from(["a", "b", "A", "a.b", "iss"])
claim_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=3)
)
conditions = st.builds(
    lambda claim, operator, value: {"claim": claim, operator: value},
    st.sampled_from(["a", "b", "a.b", "a.b.a"]),
    st.sampled_from(["equals", "notEquals", "less", "greaterOrEquals"]),
    st.one_of(st.text(max_size=3), st.integers(-3, 3), st.booleans()),
)
groups = st.recursive(
    conditions,
    lambda inner: st.builds(
        lambda rule, members: {rule: members},
        st.sampled_from(["anyOf", "allOf"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
)


def oracle(node: dict[str, Any], claims: dict[str, Json]) -> bool:
    """The grammar once more, in its plainest words, for `equals` alone."""
    if "anyOf" in node:
        return any(oracle(member, claims) for member in node["anyOf"])
    if "allOf" in node:
        return all(oracle(member, claims) for member in node["allOf"])
    value: Json = claims
    for step in node["claim"].split("."):
        if not isinstance(value, dict) or step not in value:
            return False
        value = value[step]
    if "equals" not in node or isinstance(value, list | dict) or value is None:
        return False

    def form(scalar: Json) -> str:
        if isinstance(scalar, float) and scalar == int(scalar):
            scalar = int(scalar)
        return scalar if isinstance(scalar, str) else json.dumps(scalar)

    return form(value) == form(node["equals"])


@settings(max_examples=150, deadline=None)
@given(st.lists(groups, min_size=1, max_size=3), st.dictionaries(names, claim_values, max_size=4))
def test_any_policy_agrees_with_the_grammar_and_can_be_explained(members: list[Any], claims: dict[str, Json]) -> None:
    text = json.dumps({"version": "1.0.0", "anyOf": [{"authority": A, "allOf": members}]})
    policy = parse_policy(text)
    assert decode_policy(encode_policy(policy)) == policy
    decision = evaluate(policy, {**claims, "iss": A})
    assert decision.holds is oracle({"allOf": members}, {**claims, "iss": A})
    for answer in decision.leaves():
        assert bool(answer.hint) is not answer.holds
    json.dumps(decision.to_json())


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60) | claim_values.map(json.dumps))
def test_anything_else_is_a_policy_error(data: bytes | str) -> None:
    for parse in (
        parse_policy,
        lambda value: decode_policy(value if isinstance(value, str) else value.decode("latin-1")),
    ):
        with pytest.raises(PolicyError):
            parse(data)
