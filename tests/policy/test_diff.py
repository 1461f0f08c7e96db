"""What a service treats alike is no difference; what differs is named, with a token that gained or lost the key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skrkit.policy.diff import Effect, diff_policies
from skrkit.policy.evaluate import evaluate
from skrkit.policy.model import ReleasePolicy
from skrkit.policy.normal import MAX_TERMS
from skrkit.policy.parse import decode_policy, parse_policy
from tests.policy.test_vectors import COMPACT, MHSM_FORM, VAULT_FORM, A, B, all_of, any_of, c, policy


def p(*clauses: dict[str, Any], version: str = "1.0.0") -> ReleasePolicy:
    return parse_policy(json.dumps({"version": version, "anyOf": clauses}))


K1, K2, K3 = c("k1", "a"), c("k2", "b"), c("k3", "c")
ALIKE: list[tuple[str, ReleasePolicy, ReleasePolicy]] = [
    ("vault and HSM", decode_policy(VAULT_FORM), decode_policy(MHSM_FORM)),
    ("white space", parse_policy(COMPACT), parse_policy(json.dumps(json.loads(COMPACT), indent=4))),
    ("booleans", p(all_of(A, c("sdk-test", True))), p(all_of(A, c("sdk-test", "true")))),
    ("numbers", p(all_of(A, c("vmpl", 0))), p(all_of(A, c("vmpl", "0")))),
    ("trailing slash", p(all_of(A, K1)), p(all_of(f"{A}/", K1))),
    ("case of the host", p(all_of(A, K1)), p(all_of(A.replace("attest", "ATTEST"), K1))),
    ("order of conditions", p(all_of(A, K1, K2)), p(all_of(A, K2, K1))),
    ("order of clauses", p(all_of(A, K1), all_of(B, K1)), p(all_of(B, K1), all_of(A, K1))),
    ("a group of one", p(all_of(A, K1)), p(any_of(A, {"allOf": [{"anyOf": [K1]}]}))),
    ("groups within groups", p(all_of(A, K1, {"allOf": [K2, K3]})), p(all_of(A, K1, K2, K3))),
    ("twice", p(all_of(A, K1, K1)), p(all_of(A, K1))),
    ("two clauses", p(all_of(A, K1), all_of(A, K2)), p(any_of(A, K1, K2))),
    ("version", p(all_of(A, K1), version="1.0"), p(all_of(A, K1))),
]


@pytest.mark.parametrize(("before", "after"), [row[1:] for row in ALIKE], ids=[row[0] for row in ALIKE])
def test_what_a_service_treats_alike(before: ReleasePolicy, after: ReleasePolicy) -> None:
    for found in (diff_policies(before, after), diff_policies(after, before)):
        assert found.changes == ()
        assert found.effect is Effect.SAME
        assert found.gained == found.lost == ()


# name, before, after, effect, [(kind, pointer before, pointer after)]
DIFFER: list[tuple[str, ReleasePolicy, ReleasePolicy, Effect, list[tuple[str, str, str]]]] = [
    ("added condition", p(all_of(A, K1)), p(all_of(A, K1, K2)), Effect.STRICTER, [("added", "", "/anyOf/0/allOf/1")]),
    ("removed condition", p(all_of(A, K2, K1)), p(all_of(A, K1)), Effect.LOOSER, [("removed", "/anyOf/0/allOf/0", "")]),
    (
        "changed value",
        p(all_of(A, K1)),
        p(all_of(A, c("k1", "z"))),
        Effect.OTHER,
        [("changed", "/anyOf/0/allOf/0", "/anyOf/0/allOf/0")],
    ),
    (
        "boolean that is none",
        p(all_of(A, c("d", "false"))),
        p(all_of(A, c("d", "False"))),
        Effect.OTHER,
        [("changed", "/anyOf/0/allOf/0", "/anyOf/0/allOf/0")],
    ),
    ("added authority", p(all_of(A, K1)), p(all_of(A, K1), all_of(B, K1)), Effect.LOOSER, [("added", "", "/anyOf/1")]),
    (
        "changed authority",
        p(all_of(A, K1, K2)),
        p(all_of(B, K2, K1)),
        Effect.OTHER,
        [("changed", "/anyOf/0/authority", "/anyOf/0/authority")],
    ),
    (
        "moved into an alternative",
        p(all_of(A, K1, K2, K3)),
        p(all_of(A, K1, {"anyOf": [K2, K3]})),
        Effect.LOOSER,
        [
            ("moved", "/anyOf/0/allOf/1", "/anyOf/0/allOf/1/anyOf/0"),
            ("moved", "/anyOf/0/allOf/2", "/anyOf/0/allOf/1/anyOf/1"),
        ],
    ),
    (
        "grouped otherwise",
        p(all_of(A, {"anyOf": [K1, K2]}, {"anyOf": [K3, c("k4", "d")]})),
        p(all_of(A, {"anyOf": [K1, K3]}, {"anyOf": [K2, c("k4", "d")]})),
        Effect.OTHER,
        [("moved", "/anyOf/0/allOf", "/anyOf/0/allOf")],
    ),
    (
        "a clause that another covers",
        p(all_of(A, K1)),
        p(all_of(A, K1), all_of(A, K1, K2)),
        Effect.SAME,
        [("added", "", "/anyOf/1/allOf/0"), ("added", "", "/anyOf/1/allOf/1")],
    ),
    (
        "a clause that never holds",
        p(all_of(A, K1)),
        p(all_of(A, K1), all_of(B, K1, c("k1", "z"))),
        Effect.SAME,
        [("added", "", "/anyOf/1")],
    ),
    (
        "an operator that nobody documents",
        p(all_of(A, c("n", 2))),
        p(all_of(A, {"claim": "n", "greater": 1})),
        Effect.UNDECIDED,
        [("changed", "/anyOf/0/allOf/0", "/anyOf/0/allOf/0")],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "effect", "changes"), [row[1:] for row in DIFFER], ids=[row[0] for row in DIFFER]
)
def test_what_differs(
    before: ReleasePolicy, after: ReleasePolicy, effect: Effect, changes: list[tuple[str, str, str]]
) -> None:
    found = diff_policies(before, after)
    assert [(one.kind, one.pointer_before, one.pointer_after) for one in found.changes] == changes
    assert found.effect is effect
    opposite = {Effect.STRICTER: Effect.LOOSER, Effect.LOOSER: Effect.STRICTER}.get(effect, effect)
    assert diff_policies(after, before).effect is opposite
    if effect is not Effect.UNDECIDED:  # the tokens that are named prove it
        for witnesses, no, yes in ((found.gained, before, after), (found.lost, after, before)):
            for witness in witnesses:
                claims = {"iss": witness.issuer, **witness.claims}
                assert evaluate(yes, claims).holds
                assert not evaluate(no, claims).holds


def test_too_many_ways_to_meet_it_are_said_and_not_guessed() -> None:
    choices = [{"anyOf": [c(f"k{n}", "a"), c(f"k{n}", "b")]} for n in range(14)]
    assert 2 ** len(choices) > MAX_TERMS
    found = diff_policies(p(all_of(A, *choices)), p(all_of(A, *choices[1:])))
    assert found.effect is Effect.UNDECIDED
    assert [change.kind for change in found.changes] == ["removed", "removed"]


def test_a_difference_shows_itself_as_json() -> None:
    found = diff_policies(p(all_of(A, K1)), p(all_of(A, K1, K2))).to_json()
    assert json.loads(json.dumps(found)) == {
        "effect": "stricter",
        "changes": [
            {
                "kind": "added",
                "before": None,
                "after": {"claim": "k2", "equals": "b"},
                "pointer_before": "",
                "pointer_after": "/anyOf/0/allOf/1",
            }
        ],
        "gained": [],
        "lost": [{"issuer": A, "claims": {"k1": "a"}}],
    }


def test_a_policy_for_a_thousand_authorities_is_compared() -> None:
    many = [all_of(f"https://a{n}.example", K1, K2) for n in range(1000)]
    before, after = parse_policy(policy(*many)), parse_policy(policy(*many[1:], all_of(B, K1)))
    found = diff_policies(before, after)
    assert [change.kind for change in found.changes] == ["removed", "added"]
    assert found.effect is Effect.OTHER


def test_many_alternatives_are_no_many_ways() -> None:
    values = [c("k1", f"v{number}") for number in range(3000)]
    found = diff_policies(p(any_of(A, *values[1:])), p(any_of(A, *values)))
    assert found.effect is Effect.LOOSER
    assert [dict(witness.claims) for witness in found.gained] == [{"k1": "v0"}]
