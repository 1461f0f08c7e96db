"""What holds of the policy tools for any policy, any claims and any bytes."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.errors import PolicyError, UsageError
from skrkit.policy.diff import Effect, diff_policies
from skrkit.policy.evaluate import evaluate
from skrkit.policy.lint import has_errors, lint_bytes, lint_policy
from skrkit.policy.model import ReleasePolicy
from skrkit.policy.parse import encode_policy, parse_policy
from skrkit.policy.repair import repairs
from skrkit.policy.suggest import suggest_policies
from skrkit.policy.text import open_policy_text
from skrkit.token.catalogue import TEE, catalogue
from skrkit.wire import Json

WEU = "https://sharedweu.weu.attest.azure.net"
AUTHORITIES = (
    WEU,
    f"{WEU}/",
    f"{WEU}//",
    "http://sharedweu.weu.attest.azure.net",
    "https://sharedeus.eus.attest.azure.net",
    "https://attest-a.example/t",
    "nobody",
    " ",
    "https://[",
)
PATHS = [fact.path for fact in catalogue()]
NAMES = sorted({*PATHS, *(f"{TEE}.{path}" for path in PATHS), "a", "A", "a.b"})
TEXTS = ("sevsnpvm", "SevSnpVm", "azure-compliant-cvm", "true", "True", "false", "0", "x", " ", "\u202e", "é")
scalars = (
    st.sampled_from(TEXTS) | st.integers(-2, 300) | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=4)
)
conditions = st.builds(
    lambda claim, operator, value: {"claim": claim, operator: value},
    st.sampled_from(NAMES),
    st.sampled_from(["equals", "equals", "equals", "equals", "notEquals", "greaterOrEquals"]),
    scalars,
)
groups = st.recursive(
    conditions,
    lambda inner: st.builds(
        lambda rule, members: {rule: members},
        st.sampled_from(["anyOf", "allOf"]),
        st.lists(inner, min_size=1, max_size=4),
    ),
    max_leaves=8,
)
clauses = st.builds(
    lambda authority, rule, members: {"authority": authority, rule: members},
    st.sampled_from(AUTHORITIES),
    st.sampled_from(["anyOf", "allOf"]),
    st.lists(groups, min_size=1, max_size=4),
)


def parsed(members: list[Any]) -> ReleasePolicy:
    return parse_policy(json.dumps({"version": "1.0.0", "anyOf": members}))


def is_finite(value: Any) -> bool:
    return "Infinity" not in json.dumps(value)


policies = st.lists(clauses, min_size=1, max_size=3).filter(is_finite).map(parsed)


@st.composite
def tokens(draw: st.DrawFn) -> dict[str, Json]:
    """Claims by catalogued paths, some at the wrong level, some arrays or objects, with an issuer or none."""
    claims: dict[str, Any] = {}
    for path, value in draw(st.dictionaries(st.sampled_from(NAMES), scalars, max_size=12)).items():
        *above, name = path.split(".")
        at = claims
        for step in above:
            inner = at.get(step)
            at[step] = at = inner if isinstance(inner, dict) else {}
        at[name] = draw(st.just(value) | st.just([value]))
    claims["iss"] = draw(st.sampled_from(AUTHORITIES) | scalars)
    return claims


junk = st.recursive(
    st.none() | scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["version", "anyOf", "allOf", "authority", "claim", "equals", "less", "data", "release_policy", "x"]
    ), inner, max_size=4), max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode) | junk.map(lambda v: json.dumps(v).encode()))
def test_lint_never_raises_and_calls_wrong_what_does_not_parse(data: bytes) -> None:
    found = lint_bytes(data)
    for finding in found:
        json.dumps(finding.to_json())
        assert finding.what
        assert finding.why
        assert finding.fix
    try:
        parse_policy(open_policy_text(data).json)
    except PolicyError:
        assert has_errors(found)


@settings(max_examples=100, deadline=None)
@given(policies)
def test_lint_of_a_policy_and_of_its_text_are_the_same_but_for_the_wrapping(policy: ReleasePolicy) -> None:
    found = lint_policy(policy)
    assert lint_bytes(policy.raw) == found
    assert lint_bytes(encode_policy(policy).encode()) == found


@settings(max_examples=100, deadline=None)
@given(policies, tokens())
def test_a_clause_that_lint_says_can_never_hold_does_not(policy: ReleasePolicy, claims: dict[str, Json]) -> None:
    never = {finding.pointer.removesuffix("/allOf") for finding in lint_policy(policy) if finding.id == "clause.never"}
    for clause in evaluate(policy, claims).children:
        if clause.pointer in never:
            assert not clause.holds


@settings(max_examples=150, deadline=None)
@given(policies, tokens())
def test_every_repair_holds_and_a_policy_that_holds_has_none(policy: ReleasePolicy, claims: dict[str, Json]) -> None:
    found = repairs(policy, claims)
    assert not (found and evaluate(policy, claims).holds)
    for repair in found:
        assert evaluate(repair.policy, claims).holds
        assert repair.safe is all(edit.safe for edit in repair.edits)
        assert repair.why
        json.dumps(repair.to_json())


@settings(max_examples=150, deadline=None)
@given(policies)
def test_a_policy_differs_from_itself_nowhere(policy: ReleasePolicy) -> None:
    found = diff_policies(policy, parse_policy(json.dumps(policy.fields(), indent=1)))
    assert found.changes == ()
    assert found.effect is Effect.SAME


@settings(max_examples=150, deadline=None)
@given(policies, policies, tokens())
def test_a_difference_tells_the_truth_about_any_token(
    before: ReleasePolicy, after: ReleasePolicy, claims: dict[str, Json]
) -> None:
    found = diff_policies(before, after)
    first, second = evaluate(before, claims).holds, evaluate(after, claims).holds
    if found.effect is Effect.SAME:
        assert first is second
    if found.effect is Effect.STRICTER:
        assert first or not second
    if found.effect is Effect.LOOSER:
        assert second or not first
    if not found.changes:
        assert found.effect is Effect.SAME
    assert {"looser": "stricter", "stricter": "looser"}.get(found.effect.value, found.effect.value) == diff_policies(
        after, before
    ).effect.value


ATTESTED = st.fixed_dictionaries(
    {"x-ms-attestation-type": st.just("sevsnpvm"), "x-ms-compliance-status": st.just("azure-compliant-cvm")},
    optional={
        "x-ms-sevsnpvm-is-debuggable": st.just(False) | st.just("false"),
        "x-ms-sevsnpvm-vmpl": scalars,
        "x-ms-sevsnpvm-idkeydigest": scalars | st.just("ab" * 48),
        "x-ms-sevsnpvm-launchmeasurement": st.just("cd" * 48) | st.just(["x"]),
        "x-ms-sevsnpvm-hostdata": st.just("00" * 32) | st.just("01" * 32),
        "x-ms-runtime": st.just({"vm-configuration": {"vmUniqueId": "6506B531-1634-431E-99D2-42B7D3414AD0"}}) | junk,
    },
)
GUEST = st.fixed_dictionaries({"iss": st.sampled_from(AUTHORITIES), TEE: ATTESTED}, optional={
    "secureboot": scalars, "x-ms-azurevm-vmid": st.just("6506B531-1634-431E-99D2-42B7D3414AD0") | scalars,
    "x-ms-azurevm-debuggersdisabled": scalars,
})  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(GUEST | ATTESTED.map(lambda claims: {**claims, "iss": WEU}) | tokens())
def test_what_is_suggested_holds_at_every_strength(claims: dict[str, Json]) -> None:
    try:
        suggestions = suggest_policies(claims)
    except UsageError:  # a token that no safe policy can be derived from: test_suggest.py has each reason
        return
    for suggestion in suggestions:
        assert evaluate(suggestion.policy, claims).holds
    for first, second in pairwise(suggestions):
        assert diff_policies(first.policy, second.policy).effect in (Effect.SAME, Effect.STRICTER)
