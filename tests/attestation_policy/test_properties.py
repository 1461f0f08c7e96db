"""Whatever the text and the claims: a verdict, or the named error with a place; never anything else."""

from __future__ import annotations

import contextlib
import re
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from skrkit.attestation_policy.claims import incoming_claims
from skrkit.attestation_policy.evaluate import evaluate
from skrkit.attestation_policy.form import policy_hash, policy_in
from skrkit.attestation_policy.parse import parse_attestation_policy
from skrkit.errors import ParseError, PolicyError
from skrkit.wire import Json

PIECES = (
    "version= 1.0;", "version=1.2;", "configurationrules", "authorizationrules", "issuancerules", "{", "}", "};", ";",
    "=>", "&&", "!", ":", "[", "]", "(", ")", ",", ".", "=", "==", "!=", "<", ">=", "c:", "c", "c.value", "c.type",
    "type", "value", "valueType", "issuer", "claim=c", 'type=="a"', "value==true", "value>=1", '"a"', '""', "1", "-9",
    "true", "false", "permit()", "deny()", "issue(", "add(", "issueproperty(", 'type="b"', "JmesPath(", "NegateBool(",
    'JsonToClaimValue("[1, null]")', "// x\n", "\n", " ", "\u201c", '"', "\\", "\0", "\U0001f512",
)  # fmt: skip
LITERALS = st.sampled_from(
    ['"a"', '"{}"', '"[1, true]"', '"@"', '"a.b[0]"', "1", "-3", "true", "false", "c.value", "c.type"]
)
EXPRESSIONS = st.recursive(
    LITERALS,
    lambda inner: st.one_of(
        st.builds(lambda name, a: f"{name}({a})", st.sampled_from(["NegateBool", "JsonToClaimValue"]), inner),
        st.builds(
            lambda name, a, b: f"{name}({a}, {b})",
            st.sampled_from(["JmesPath", "AppendString", "IsSubsetOf", "ContainsOnlyValue"]),
            inner,
            inner,
        ),
    ),
    max_leaves=6,
)
TESTS = st.builds(
    lambda member, sign, operand: f"{member}{sign}{operand}",
    st.sampled_from(["type", "value", "value", "valueType", "issuer"]),
    st.sampled_from(["==", "!=", "<", ">="]),
    st.sampled_from(['"a"', '"x"', "1", "true", '"Boolean"', '"AttestationService"']),
)
RULES = st.builds(
    lambda tests, verb, kind, value: f"c:[{', '.join(tests)}] => {verb}(type={kind}, value={value});",
    st.lists(TESTS, min_size=1, max_size=2),
    st.sampled_from(["add", "issue", "issueproperty"]),
    st.sampled_from(['"a"', '"out"', "c.type", "c.value"]),
    EXPRESSIONS,
)
json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
claims = st.dictionaries(st.sampled_from(["a", "x", "pcrs", "secureboot", "iss"]), json_values, max_size=4)


def judged(text: str | bytes, given_claims: dict[str, Json]) -> bool | None:
    try:
        policy = parse_attestation_policy(text)
        return evaluate(policy, incoming_claims(given_claims)).permitted
    except PolicyError as caught:
        error = caught
    assert re.fullmatch(r"(line \d+, column \d+)|(byte 0x[0-9A-F]+)", error.where)
    assert error.rule
    assert error.fix
    return None


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
@example("version=1.0;authorizationrules{[" + "type" * 3)
@settings(max_examples=400)
def test_any_text_is_a_policy_or_a_named_error(text: str) -> None:
    judged(text, {"a": True})


@given(st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    judged(data, {})
    judged(b"version= 1.2;" + data, {})


@given(st.lists(RULES, max_size=5), claims)
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_any_rules_over_any_claims(rules: list[str], given_claims: dict[str, Json]) -> None:
    head = "version= 1.2; authorizationrules { => permit(); }; issuancerules { "
    permitted = judged(head + "\n".join(rules) + " };", given_claims)
    assert permitted is not False  # what is issued cannot take the permission back


@pytest.mark.filterwarnings("ignore:deprecated string literal syntax:PendingDeprecationWarning")
@given(st.text(alphabet="ab&|[]{}()@.?`'\"\\!=<>*,:0129- ", max_size=40), json_values)
@settings(max_examples=400)
def test_any_query(query: str, document: Json) -> None:
    text = query.replace("\\", "\\\\").replace('"', '\\"')
    rule = f'c:[type=="x"] => issue(type="r", value=JmesPath(c.value, "{text}"));'
    judged(f"version=1.2; authorizationrules {{ => permit(); }}; issuancerules {{ {rule} }};", {"x": {"a": document}})


@given(st.lists(st.sampled_from(['[type=="a"] => permit();', "=> permit();", '[type=="b"] => deny();']), max_size=4))
def test_a_denial_is_never_taken_back(rules: list[str]) -> None:
    """However rules stand: with a rule that denies, the answer is no; its place does not matter."""
    text = "version= 1.0; authorizationrules {{ {} }};"
    for at in range(len(rules) + 1):
        denying = [*rules[:at], "=> deny();", *rules[at:]]
        assert judged(text.format(" ".join(denying)), {"a": 1}) is False


@given(
    st.text(alphabet=st.characters(codec="utf-8"), max_size=60),
    st.text(alphabet=st.characters(codec="utf-8"), max_size=60),
)
def test_two_texts_have_two_hashes(first: str, second: str) -> None:
    for one, other in pairwise((first, second)):
        assert (policy_hash(one) == policy_hash(other)) == (one == other)


@given(st.binary(max_size=60))
def test_any_payload(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        assert isinstance(policy_in(data), str)
