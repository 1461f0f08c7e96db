"""Policies derived from a real token: they hold for it, each is stricter, and unsafe tokens are refused by name."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from skrkit.errors import UsageError
from skrkit.policy.claim_lifetime import Lasts, lifetime_of
from skrkit.policy.diff import Effect, diff_policies
from skrkit.policy.evaluate import evaluate
from skrkit.policy.lint import has_errors, lint_policy
from skrkit.policy.suggest import suggest_policies
from skrkit.token.catalogue import catalogue
from skrkit.token.decode import decode_jwt

TEE = "x-ms-isolation-tee"


@pytest.fixture
def claims(captures: Path) -> dict[str, Any]:
    return decode_jwt((captures / "maa-token-and-akv-release" / "maa-token.jwt").read_bytes()).claims


def test_three_strengths_hold_and_are_stricter_each(claims: dict[str, Any]) -> None:
    kind, software, machine = suggest_policies(claims)
    assert [one.name for one in (kind, software, machine)] == ["any-compliant", "this-software", "this-vm"]
    for one in (kind, software, machine):
        assert evaluate(one.policy, claims).holds
        assert not has_errors(lint_policy(one.policy))
        assert [clause.pointer for clause in one.clauses] == [
            leaf.pointer for leaf in evaluate(one.policy, claims).leaves()
        ]
    assert diff_policies(kind.policy, software.policy).effect is Effect.STRICTER
    assert diff_policies(software.policy, machine.policy).effect is Effect.STRICTER


def test_what_each_strength_asks_of_the_captured_token(claims: dict[str, Any]) -> None:
    kind, software, machine = (
        {clause.claim: clause.value for clause in one.clauses} for one in suggest_policies(claims)
    )
    assert kind == {
        f"{TEE}.x-ms-attestation-type": "sevsnpvm",
        f"{TEE}.x-ms-compliance-status": "azure-compliant-cvm",
        f"{TEE}.x-ms-sevsnpvm-is-debuggable": False,
    }
    assert software.items() - kind.items() == {
        ("secureboot", True),
        ("x-ms-azurevm-debuggersdisabled", True),
        ("x-ms-azurevm-testsigning-enabled", False),
        (f"{TEE}.x-ms-sevsnpvm-vmpl", 0),
        (f"{TEE}.x-ms-sevsnpvm-migration-allowed", False),
        (f"{TEE}.x-ms-sevsnpvm-idkeydigest", claims[TEE]["x-ms-sevsnpvm-idkeydigest"]),
        (f"{TEE}.x-ms-sevsnpvm-launchmeasurement", claims[TEE]["x-ms-sevsnpvm-launchmeasurement"]),
    }
    assert machine.items() - software.items() == {("x-ms-azurevm-vmid", "6506B531-1634-431E-99D2-42B7D3414AD0")}


def test_another_vm_or_paravisor_is_kept_out_by_the_strength_that_names_it(claims: dict[str, Any]) -> None:
    other_vm = {**claims, "x-ms-azurevm-vmid": "00000000-0000-0000-0000-000000000001"}
    other_software = copy.deepcopy(claims)
    other_software[TEE]["x-ms-sevsnpvm-launchmeasurement"] = "00" * 48
    debug = copy.deepcopy(claims)
    debug[TEE]["x-ms-sevsnpvm-is-debuggable"] = True
    answers = {
        name: [evaluate(one.policy, changed).holds for one in suggest_policies(claims)]
        for name, changed in {"vm": other_vm, "software": other_software, "debug": debug}.items()
    }
    assert answers == {"vm": [True, True, False], "software": [True, False, False], "debug": [False, False, False]}


def test_each_clause_says_what_it_costs(claims: dict[str, Any]) -> None:
    machine = suggest_policies(claims)[2]
    lasts = {clause.claim: clause.lifetime.lasts for clause in machine.clauses}
    assert lasts["x-ms-azurevm-vmid"] is Lasts.VM
    assert lasts[f"{TEE}.x-ms-sevsnpvm-launchmeasurement"] is Lasts.PARAVISOR
    assert lasts[f"{TEE}.x-ms-attestation-type"] is Lasts.KIND
    for clause in machine.to_json()["clauses"]:  # type: ignore[union-attr]  # a JSON list
        assert isinstance(clause, dict)
        assert clause["meaning"]
        assert clause["made_again"]
        assert clause["firmware"]


def test_what_cannot_be_asked_for_is_said(claims: dict[str, Any]) -> None:
    claims["secureboot"] = False
    _, software, machine = suggest_policies(claims)
    said = " ".join(software.left_out)
    assert "greaterOrEquals" in said
    assert "x-ms-sevsnpvm-microcode-svn" in said
    assert "secureboot: it is false in this token" in said
    assert "rule out nobody" in " ".join(machine.left_out)


def test_a_platform_token_is_asked_at_the_top(claims: dict[str, Any]) -> None:
    platform = {**claims[TEE], "iss": claims["iss"]}
    kind, _, machine = suggest_policies(platform)
    assert [clause.claim for clause in kind.clauses] == [
        "x-ms-attestation-type",
        "x-ms-compliance-status",
        "x-ms-sevsnpvm-is-debuggable",
    ]
    assert machine.clauses[-1].claim == "x-ms-runtime.vm-configuration.vmUniqueId"
    assert evaluate(machine.policy, platform).holds


def test_a_provider_of_somebodys_own_is_said(claims: dict[str, Any]) -> None:
    claims["iss"] = "https://mine.weu.attest.azure.net"
    for one in suggest_policies(claims):
        assert "whoever runs it decides" in one.left_out[0]


UNSAFE: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("claim iss", {"iss": "http://sharedweu.weu.attest.azure.net"}, {}, '"http://sharedweu.weu.attest.azure.net"'),
    ("claim iss", {"iss": None}, {}, "nothing"),
    (f"claim {TEE}.x-ms-attestation-type", {}, {"x-ms-attestation-type": "tpm"}, '"tpm"'),
    (f"claim {TEE}.x-ms-sevsnpvm-is-debuggable", {}, {"x-ms-sevsnpvm-is-debuggable": True}, "true"),
    (f"claim {TEE}.x-ms-compliance-status", {}, {"x-ms-compliance-status": None}, "nothing"),
    (f"claim {TEE}.x-ms-compliance-status", {}, {"x-ms-compliance-status": "azure-signed"}, '"azure-signed"'),
]


@pytest.mark.parametrize(("where", "top", "nested", "found"), UNSAFE)
def test_an_unsafe_token_is_refused_by_name(
    claims: dict[str, Any], where: str, top: dict[str, Any], nested: dict[str, Any], found: str
) -> None:
    changed = {**claims, **top, TEE: {**claims[TEE], **nested}}
    with pytest.raises(UsageError) as caught:
        suggest_policies(changed)
    assert (caught.value.where, caught.value.found) == (where, found)
    assert caught.value.fix


def test_a_trusted_launch_token_has_no_tee(claims: dict[str, Any]) -> None:
    del claims[TEE]
    with pytest.raises(UsageError) as caught:
        suggest_policies(claims)
    assert caught.value.found == '"azurevm"'


def test_every_catalogued_claim_has_a_lifetime_that_says_something() -> None:
    for fact in catalogue():
        lifetime = lifetime_of(fact.path)
        assert lifetime == lifetime_of(f"{TEE}.{fact.path}")
        assert lifetime.made_again
        assert lifetime.firmware
