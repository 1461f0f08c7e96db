"""The policy leg on claims of a real token, with a policy that Microsoft publishes and those that people mistake."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from skrkit.diagnosis.case import Case, Exchange
from skrkit.diagnosis.explain import explain
from skrkit.wire import Json

ISSUER = "https://sharedweu.weu.attest.azure.net"
TEE = "x-ms-isolation-tee."
REFUSED = Exchange(
    service="vault",
    method="POST",
    url="https://contoso.vault.azure.net/keys/k/v/release",
    status=403,
    response_body={
        "error": {
            "code": "Forbidden",
            "message": "Target environment attestation does not meet key release policy requirements.",
        }
    },
)


@pytest.fixture(scope="module")
def claims(captures: Path) -> dict[str, Json]:
    payload = (captures / "maa-token-and-akv-release" / "maa-token.jwt").read_bytes().split(b".")[1]
    found: dict[str, Json] = json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
    return found


def policy(*conditions: dict[str, Any], authority: str = ISSUER) -> bytes:
    return json.dumps({"version": "1.0.0", "anyOf": [{"authority": authority, "allOf": list(conditions)}]}).encode()


def asks(claim: str, value: Json = True, operator: str = "equals") -> dict[str, Json]:
    return {"claim": claim, operator: value}


COMPLIANT = asks(f"{TEE}x-ms-compliance-status", "azure-compliant-cvm")


def found_in(claims: dict[str, Json], text: bytes) -> list[tuple[str, str]]:
    findings = explain(Case(exchanges=(REFUSED,), claims=claims, policy=text)).findings
    return [(finding.cause.id, finding.certainty) for finding in findings if finding.cause.leg.value == "policy"]


# What is asked, and the cause. The first is what Azure's command line makes with --default-cvm-policy: it fits platform
# tokens, and no guest's.
MISTAKES: list[tuple[bytes, str]] = [
    (policy(asks("x-ms-compliance-status", "azure-compliant-cvm")), "policy.missing-prefix"),
    (policy(asks("x-ms-attestation-type", "sevsnpvm")), "policy.missing-prefix"),
    (policy(asks("x-ms-sevsnpvm-is-debuggable", False)), "policy.missing-prefix"),
    (policy(COMPLIANT, asks(f"{TEE}secureboot")), "policy.extra-prefix"),
    (policy(COMPLIANT, asks(f"{TEE}x-ms-azurevm-debuggersdisabled")), "policy.extra-prefix"),
    (policy(asks(f"{TEE}x-ms-complience-status", "azure-compliant-cvm")), "policy.claim-typo"),
    (policy(asks(f"{TEE}X-MS-Compliance-Status", "azure-compliant-cvm")), "policy.claim-typo"),
    (policy(asks("x-ms-isolationtee.x-ms-compliance-status", "azure-compliant-cvm")), "policy.claim-typo"),
    (policy(asks(f"{TEE}x-ms-compliance-status", "Azure-Compliant-CVM")), "policy.letter-case"),
    (policy(asks(f"{TEE}x-ms-compliance-status", "azure-compliant-uvm")), "policy.compliance-status"),
    (policy(asks(f"{TEE}x-ms-sevsnpvm-is-debuggable", "False")), "policy.boolean-text"),
    (policy(asks(f"{TEE}x-ms-sevsnpvm-is-debuggable", "FALSE")), "policy.boolean-text"),
    (policy(asks(f"{TEE}x-ms-sevsnpvm-is-debuggable", "0")), "policy.boolean-text"),
    (policy(asks(f"{TEE}x-ms-sevsnpvm-is-debuggable", True)), "policy.debug"),
    (policy(asks(f"{TEE}x-ms-sevsnpvm-vmpl", 1)), "policy.vmpl"),
    (policy(asks(f"{TEE}x-ms-sevsnpvm-hostdata", "00" * 31 + "01")), "policy.host-data"),
    (policy(asks(f"{TEE}x-ms-sevsnpvm-launchmeasurement", "00" * 48)), "policy.launch-measurement"),
    (policy(asks(f"{TEE}x-ms-sevsnpvm-microcode-svn", 9)), "policy.firmware-svn"),
    (policy(asks(f"{TEE}x-ms-sevsnpvm-guestsvn", 9)), "policy.firmware-svn"),
    (policy(asks("x-ms-azurevm-vmid", "B3B9E4D0-0000-0000-0000-000000000000")), "policy.other-vm"),
    (policy(asks(f"{TEE}x-ms-attestation-type", "tdxvm")), "policy.kind-of-token"),
    (policy(asks("secureboot", False)), "policy.secure-boot"),
    (policy(asks(f"{TEE}x-ms-compliance-status", "azure-compliant-uvm", "notEquals")), "policy.operator"),
    (policy(COMPLIANT, authority="https://sharedneu.neu.attest.azure.net"), "policy.authority-region"),
    (policy(COMPLIANT, authority="https://contoso.weu.attest.azure.net"), "policy.authority-region"),
    (policy(COMPLIANT, authority="https://sharedweu.eus.attest.azure.net"), "policy.authority-typo"),
    (policy(COMPLIANT, authority="http://sharedweu.weu.attest.azure.net"), "policy.authority-typo"),
    (policy(COMPLIANT, authority=f"{ISSUER}/attest/AzureGuest"), "policy.authority-typo"),
    (policy(COMPLIANT, authority=f"{ISSUER}//"), "policy.trailing-slash"),
    (policy(COMPLIANT, authority="sharedweu.weu.attest.azure.net"), "policy.authority-typo"),
]


@pytest.mark.parametrize(("text", "cause"), MISTAKES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_mistake_is_named(claims: dict[str, Json], text: bytes, cause: str) -> None:
    assert found_in(claims, text)[:1] == [(cause, "proved")]


def test_a_policy_that_holds_is_not_the_vaults(claims: dict[str, Json]) -> None:
    assert found_in(claims, policy(COMPLIANT)) == [("policy.changed", "likely")]
    assert found_in(claims, policy(COMPLIANT, authority=f"{ISSUER}/")) == [("policy.changed", "likely")]


def test_a_policy_for_guests_and_a_platform_token(claims: dict[str, Json]) -> None:
    inside = claims["x-ms-isolation-tee"]
    assert isinstance(inside, dict)
    platform: dict[str, Json] = {"iss": ISSUER, **inside}
    assert found_in(platform, policy(COMPLIANT))[0] == ("policy.kind-of-token", "proved")


def test_the_clause_is_shown_with_expected_found_and_nearest(claims: dict[str, Json]) -> None:
    case = Case(exchanges=(REFUSED,), claims=claims, policy=MISTAKES[0][0])
    explanation = explain(case)
    finding = explanation.findings[0]
    assert finding.where == "/anyOf/0/allOf/0"
    assert finding.expected == "x-ms-compliance-status equals 'azure-compliant-cvm'"
    assert finding.found == "no such claim"
    assert "nearest: x-ms-isolation-tee.x-ms-compliance-status" in finding.evidence
    assert explanation.decision is not None
    assert not explanation.decision.holds
    repair = explanation.repairs[0]
    assert (repair.safe, repair.count) == (True, 1)


def test_a_dangerous_change_is_marked(claims: dict[str, Json]) -> None:
    text = policy(COMPLIANT, asks(f"{TEE}x-ms-sevsnpvm-is-debuggable", True))
    assert explain(Case(exchanges=(REFUSED,), claims=claims, policy=text)).repairs[0].safe is True  # true becomes false
    debuggable = json.loads(json.dumps(claims))
    debuggable["x-ms-isolation-tee"]["x-ms-sevsnpvm-is-debuggable"] = True
    text = policy(COMPLIANT, asks(f"{TEE}x-ms-sevsnpvm-is-debuggable", False))
    repairs = explain(Case(exchanges=(REFUSED,), claims=debuggable, policy=text)).repairs
    assert repairs
    assert not any(repair.safe for repair in repairs)


def test_only_the_clause_of_this_authority_is_asked(claims: dict[str, Json]) -> None:
    clauses = [
        {"authority": "https://sharedneu.neu.attest.azure.net", "allOf": [COMPLIANT]},
        {"authority": ISSUER, "allOf": [asks(f"{TEE}x-ms-sevsnpvm-vmpl", 1)]},
    ]
    text = json.dumps({"version": "1.0.0", "anyOf": clauses}).encode()
    assert found_in(claims, text) == [("policy.vmpl", "proved")]


@pytest.mark.parametrize("text", [b"", b"{}", b"nonsense", b'{"version":"1.0.0","anyOf":[]}', b"\xff" * 100])
def test_a_policy_that_is_none_is_said_to_be(claims: dict[str, Json], text: bytes) -> None:
    found = found_in(claims, text)
    assert found[0] == (("policy.malformed", "proved") if text else ("policy.missing-prefix", "possible"))
