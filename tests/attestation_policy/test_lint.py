"""What lint says of attestation policies: each remark on one policy that has it and on one that has it not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skrkit.attestation_policy.lint import has_errors, lint_attestation_policy
from skrkit.policy.lint_rules import Severity

# The rules of the shared providers' policy for guests, as a third party shows that edits them.
SIX = (
    "x-ms-azurevm-default-securebootkeysvalidated",
    "x-ms-azurevm-debuggersdisabled",
    "secureboot",
    "x-ms-azurevm-signingdisabled",
    "x-ms-azurevm-dbvalidated",
    "x-ms-azurevm-dbxvalidated",
)


def remarks(rules: str, version: str = "1.0") -> list[tuple[str, str]]:
    text = f"version= {version};\nauthorizationrules {{\n{rules}\n}};"
    return [(remark.id, remark.where) for remark in lint_attestation_policy(text)]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("", [("authorization.no-permit", "")]),
        ("=> permit();\n=> deny();", [("authorization.denies-all", "line 4, column 1")]),
        ("=> permit();", [("authorization.permits-all", "line 3, column 1")]),
        ('[type=="secureboot", value==true] => permit();', []),
        ('[type=="secureboot", value=="true"] => permit();', [("condition.value-type", "line 3, column 22")]),
        ('[type=="x-ms-sevsnpvm-guestsvn", value>=2] => permit();', []),
        ('[type=="x-ms-sevsnpvm-guestsvn", value==true] => permit();', [("condition.value-type", "line 3, column 34")]),
        ('[type=="x-ms-compliance-status", value==1] => permit();', [("condition.value-type", "line 3, column 34")]),
        ('[type=="secure-boot", value==true] => permit();', [("condition.unknown-claim", "line 3, column 1")]),
        ('[type=="mine", issuer=="CustomClaim"] => permit();', []),
        ('=> add(type="mine", value=1);\n[type=="mine", value==1] => permit();', []),
        (
            '[type=="secureboot", value==false] => deny();\n=> permit();',
            [("authorization.absent-is-not-denied", "line 3, column 1")],
        ),
        ("[type=1] => permit();", [("grammar.assignment", "line 3, column 6")]),
    ],
)
def test_each_remark(rules: str, expected: list[tuple[str, str]]) -> None:
    assert remarks(rules) == expected


def test_absence_that_is_denied_is_not_remarked() -> None:
    assert remarks('![type=="secureboot", value==true] => deny();\n=> permit();', "1.2") == []


def test_azures_own_rules_have_no_errors() -> None:
    """What every shared provider runs names known claims, with values of their types; that is what lint is to know."""
    rules = "\n".join(f'[type=="{name}", value==false] => deny();' for name in SIX)
    found = lint_attestation_policy(
        f"version= 1.0; authorizationrules {{ {rules} => permit(); }}; issuancerules {{ }};"
    )
    assert {remark.id for remark in found} == {"authorization.absent-is-not-denied"}
    assert not has_errors(found)


@given(st.text(max_size=80))
def test_lint_never_raises(text: str) -> None:
    for remark in lint_attestation_policy(text):
        assert remark.what
        assert remark.why
        assert remark.fix
        assert remark.severity in Severity
