"""Each policy fault of the sandbox, on a real token: lint names it where text alone can, and a repair mends it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from skrkit.policy.evaluate import evaluate
from skrkit.policy.lint import lint_policy
from skrkit.policy.parse import parse_policy
from skrkit.policy.repair import repairs
from skrkit.policy.templates import cvm_policy
from skrkit.sandbox.faults import policy as faults
from skrkit.token.decode import decode_jwt

WEU = "https://sharedweu.weu.attest.azure.net"
TEE = "x-ms-isolation-tee"
# the fault without "policy.", the mistake, what lint finds, whether the first repair is safe, the kinds of its edits
FAULTS: list[tuple[str, faults.Mistake, str | None, bool, list[str]]] = [
    ("missing-prefix", faults._missing_prefix, "clause.platform", True, ["claim path"] * 2),
    ("extra-prefix", faults._extra_prefix, "claim.level", True, ["claim path"]),
    ("claim-typo", faults._claim_typo, "claim.misspelt", True, ["claim path"]),
    ("letter-case", faults._letter_case, "value.case", True, ["value"]),
    ("boolean-text", faults._asks("x-ms-sevsnpvm-is-debuggable", "False"), "value.boolean", True, ["value"]),
    ("authority-region", faults._authority_region, None, True, ["add authority"]),
    ("authority-typo", faults._authority_typo, "authority.path", True, ["authority"]),
    ("compliance-status", faults._compliance_status, None, False, ["value"]),
    (
        "other-vm",
        faults._asks("x-ms-runtime.vm-configuration.vmUniqueId", faults.OTHER_VM),
        "claim.one-vm",
        False,
        ["value"],
    ),
    (
        "launch-measurement",
        faults._asks("x-ms-sevsnpvm-launchmeasurement", "ab" * 48),
        "claim.paravisor",
        False,
        ["value"],
    ),
    ("firmware-svn", faults._asks("x-ms-sevsnpvm-snpfw-svn", 1), "claim.firmware", False, ["value"]),
    ("host-data", faults._asks("x-ms-sevsnpvm-hostdata", "cd" * 32), "claim.one-vm", False, ["value"]),
    ("debug", faults._debug, "clause.no-compliance", False, ["value"]),
    ("operator", faults._operator, "operator.not-equals", True, ["operator"]),
    ("secure-boot", faults._asks("x-ms-azurevm-elam-enabled", True, tee=False), None, False, ["value"]),
]


def test_every_policy_fault_of_the_sandbox_is_here() -> None:
    assert [f"policy.{row[0]}" for row in FAULTS] == [fault.name for fault in faults.FAULTS]


@pytest.mark.parametrize(
    ("name", "mistake", "rule", "safe", "kinds"), [pytest.param(*row, id=row[0]) for row in FAULTS]
)
def test_a_fault_is_named_and_mended(
    captures: Path, name: str, mistake: faults.Mistake, rule: str | None, safe: bool, kinds: list[str]
) -> None:
    claims: dict[str, Any] = decode_jwt((captures / "maa-token-and-akv-release" / "maa-token.jwt").read_bytes()).claims
    if name == "debug":  # this fault has the hardware say so, too
        claims = copy.deepcopy(claims)
        claims[TEE]["x-ms-sevsnpvm-is-debuggable"] = True
    sound = cvm_policy(WEU)
    document: dict[str, Any] = json.loads(json.dumps(sound.fields()))
    mistake(document)
    spoilt = parse_policy(json.dumps(document))
    assert not evaluate(spoilt, claims).holds
    before = {finding.id for finding in lint_policy(sound)}
    new = {finding.id for finding in lint_policy(spoilt)} - before
    assert new >= ({rule} if rule else set())
    first, *_ = repairs(spoilt, claims)
    assert first.safe is safe, first.why
    assert [edit.kind for edit in first.edits] == kinds
