"""Lint must not be silent where it counts: whatever a machine without a TEE, or one that can be debugged, passes.

Policies are put together at random from what a real token says, so that many of them hold.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.policy.evaluate import evaluate
from skrkit.policy.lint import lint_policy
from skrkit.policy.parse import parse_policy
from skrkit.token.decode import decode_jwt
from tests.conftest import CAPTURES

TEE = "x-ms-isolation-tee"
TOKEN = CAPTURES / "maa-token-and-akv-release" / "maa-token.jwt"


def claims_of_the_capture() -> dict[str, Any]:
    return decode_jwt(TOKEN.read_bytes()).claims if TOKEN.is_file() else {}


def scalars(claims: dict[str, Any], above: str = "") -> Iterator[dict[str, Any]]:
    for name, value in claims.items():
        if isinstance(value, dict):
            yield from scalars(value, f"{above}{name}.")
        elif not isinstance(value, list):
            yield {"claim": f"{above}{name}", "equals": value}


def trusted_launch() -> dict[str, Any]:
    """The same token, had the VM been a Trusted Launch one: no hardware evidence."""
    claims = claims_of_the_capture()
    claims.pop(TEE, None)
    return claims


def debuggable(compliant: bool) -> dict[str, Any]:
    claims = copy.deepcopy(claims_of_the_capture())
    if claims:
        claims[TEE]["x-ms-sevsnpvm-is-debuggable"] = True
        if not compliant:
            del claims[TEE]["x-ms-compliance-status"]
    return claims


WRONG: list[dict[str, Any]] = [
    {"claim": f"{TEE}.x-ms-attestation-type", "equals": "tdxvm"},
    {"claim": "nobody", "equals": 1},
]
CONDITIONS: list[dict[str, Any]] = [*scalars(claims_of_the_capture()), *scalars(debuggable(True)), *WRONG]


def groups(conditions: list[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.recursive(
        st.sampled_from(conditions),
        lambda inner: st.builds(
            lambda rule, members: {rule: members},
            st.sampled_from(["anyOf", "allOf"]),
            st.lists(inner, min_size=1, max_size=4),
        ),
        max_leaves=6,
    )


def holding_is_said(members: list[dict[str, Any]], rule: str, claims: dict[str, Any], said: tuple[str, ...]) -> bool:
    """Return whether the policy holds, having checked that lint then says one of `said` of the clause."""
    clause = {"authority": claims["iss"], rule: members}
    policy = parse_policy(json.dumps({"version": "1.0.0", "anyOf": [clause]}))
    if not evaluate(policy, claims).holds:
        return False
    found = {finding.id for finding in lint_policy(policy) if finding.pointer == "/anyOf/0"}
    assert found & set(said), (members, found)
    return True


real = pytest.mark.skipif(not TOKEN.is_file(), reason="NO CAPTURES: no real token to put policies together from")
once = settings(max_examples=80, deadline=None)


@real
@once
@given(st.data())
def test_what_a_vm_without_a_tee_passes_is_called_so(data: st.DataObject) -> None:
    claims = trusted_launch()
    own = list(scalars(claims))
    members = data.draw(st.lists(groups([*own, *own, *CONDITIONS]), min_size=1, max_size=3))
    holding_is_said(members, data.draw(st.sampled_from(["anyOf", "allOf"])), claims, ("clause.no-tee",))


@real
@once
@given(st.data(), st.booleans())
def test_what_a_debuggable_vm_passes_is_called_so(data: st.DataObject, compliant: bool) -> None:
    claims = debuggable(compliant)
    members = data.draw(st.lists(groups([*scalars(claims), *CONDITIONS]), min_size=1, max_size=3))
    said = ("clause.no-tee", "clause.debug", "clause.debug-wanted") + (("clause.debug-implied",) if compliant else ())
    holding_is_said(members, data.draw(st.sampled_from(["anyOf", "allOf"])), claims, said)


@real
@once
@given(st.data())
def test_what_a_vm_that_is_not_compliant_passes_is_called_so(data: st.DataObject) -> None:
    claims = copy.deepcopy(claims_of_the_capture())
    del claims[TEE]["x-ms-compliance-status"]
    members = data.draw(st.lists(groups([*scalars(claims), *CONDITIONS]), min_size=1, max_size=3))
    rule = data.draw(st.sampled_from(["anyOf", "allOf"]))
    holding_is_said(members, rule, claims, ("clause.no-tee", "clause.no-compliance"))


@real
def test_the_three_are_no_empty_promise(captures: Path) -> None:
    """Each of them has policies that hold: one on the boot, one on the type."""
    boot = [{"claim": "secureboot", "equals": True}]
    kind = [{"claim": f"{TEE}.x-ms-attestation-type", "equals": "sevsnpvm"}]
    assert captures.is_dir()
    assert holding_is_said(boot, "allOf", trusted_launch(), ("clause.no-tee",))
    assert holding_is_said(kind, "allOf", debuggable(False), ("clause.debug",))
    assert holding_is_said(kind, "anyOf", debuggable(False), ("clause.no-compliance",))
