"""Every rule of lint has a policy that breaks it, and the policies that Azure accepts are free of errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skrkit.errors import PolicyError
from skrkit.policy.lint import MAX_SEARCHES, has_errors, lint_bytes, lint_policy
from skrkit.policy.lint_rules import RULES, LintFinding, Severity
from skrkit.policy.parse import decode_policy, parse_policy, salvage_policy
from skrkit.policy.templates import container_policy, cvm_policy, data_disk_policy
from skrkit.release.response import parse_release_response
from tests.policy.test_vectors import MALFORMED, VECTORS

WEU = "https://sharedweu.weu.attest.azure.net"
TEE = "x-ms-isolation-tee"
SNP = {"claim": f"{TEE}.x-ms-attestation-type", "equals": "sevsnpvm"}
COMPLIANT = {"claim": f"{TEE}.x-ms-compliance-status", "equals": "azure-compliant-cvm"}
NO_DEBUG = {"claim": f"{TEE}.x-ms-sevsnpvm-is-debuggable", "equals": False}
OPAQUE = "a" * 96


def clause(*conditions: dict[str, Any], authority: str = WEU, rule: str = "allOf") -> dict[str, Any]:
    return {"authority": authority, rule: list(conditions)}


def policy(*clauses: dict[str, Any], version: str = "1.0.0") -> bytes:
    return json.dumps({"version": version, "anyOf": clauses}).encode()


def asking(claim: str, value: Any = "x", *, operator: str = "equals") -> bytes:
    return policy(clause(SNP, COMPLIANT, NO_DEBUG, {"claim": claim, operator: value}))


def at_authority(authority: str) -> bytes:
    return policy(clause(SNP, COMPLIANT, NO_DEBUG, authority=authority))


FOURTH = "/anyOf/0/allOf/3"
AUTHORITY = "/anyOf/0/authority"
# id, policy, pointer, a part of what or fix
CASES: list[tuple[str, bytes, str, str]] = [
    ("policy.version", policy(clause(SNP), version="1.0"), "/version", "1.0"),
    ("policy.size", policy(*[clause(SNP, authority=f"{WEU}/{n}") for n in range(400)]), "", "bytes without white"),
    ("authority.scheme", at_authority(WEU.replace("https", "http")), AUTHORITY, f"Write {WEU}"),
    ("authority.scheme", at_authority("sharedweu.weu.attest.azure.net/"), AUTHORITY, f"Write {WEU}"),
    ("authority.blank", at_authority(f"{WEU} "), AUTHORITY, "white space"),
    ("authority.path", at_authority(f"{WEU}/certs"), AUTHORITY, f"Write {WEU}"),
    ("authority.path", at_authority(f"{WEU}?x=1"), AUTHORITY, f"Write {WEU}"),
    ("authority.port", at_authority(f"{WEU}:443"), AUTHORITY, f"Write {WEU}"),
    ("authority.port", at_authority("https://me@sharedweu.weu.attest.azure.net"), AUTHORITY, f"Write {WEU}"),
    ("authority.slashes", at_authority(f"{WEU}//"), AUTHORITY, f"Write {WEU}"),
    ("authority.slash", at_authority(f"{WEU}/"), AUTHORITY, f"Write {WEU}"),
    ("authority.case", at_authority(WEU.replace("shared", "Shared")), AUTHORITY, f"Write {WEU}"),
    ("authority.region", at_authority("https://sharedweu.neu.attest.azure.net"), AUTHORITY, f"Write {WEU}"),
    ("authority.region", at_authority("https://sharedwesteurope.westeurope.attest.azure.net"), AUTHORITY, WEU),
    ("authority.new-region", at_authority("https://sharedqq9.qq9.attest.azure.net"), AUTHORITY, "'qq9'"),
    ("authority.new-region", at_authority("https://mine.qq9.attest.azure.net"), AUTHORITY, "'qq9'"),
    ("authority.zone", at_authority("https://sharedweu.weu.attest.azure.com"), AUTHORITY, f"Write {WEU}"),
    ("authority.not-maa", at_authority("https://attest-a.example"), AUTHORITY, "attest-a.example"),
    ("authority.test-ring", at_authority("https://sharedeus.eus.test.attest.azure.net"), AUTHORITY, "test ring"),
    ("authority.sovereign", at_authority("https://sharedugv.ugv.attest.azure.us"), AUTHORITY, "Azure Government"),
    ("authority.sovereign", at_authority("https://mine.cne2.attest.azure.cn"), AUTHORITY, "Azure China"),
    ("authority.own", at_authority("https://mine.weu.attest.azure.net"), AUTHORITY, "somebody made"),
    ("authority.twice", policy(clause(SNP), clause(COMPLIANT, authority=f"{WEU}/")), "/anyOf/1/authority", "/anyOf/0"),
    ("claim.case", asking(f"{TEE}.x-ms-sevsnpvm-FamilyId", "0" * 32), f"{FOURTH}/claim", "familyId"),
    ("claim.misspelt", asking(f"{TEE}.x-ms-sevsnpvm-guest-svn", 2), f"{FOURTH}/claim", f"{TEE}.x-ms-sevsnpvm-guestsvn"),
    ("claim.misspelt", asking("x-ms-isolation-te.x-ms-sevsnpvm-vmpl", 0), f"{FOURTH}/claim", f"Write {TEE}.x-ms-sev"),
    ("claim.unknown", asking("tenant", 1), f"{FOURTH}/claim", "tenant"),
    ("claim.level", asking(f"{TEE}.secureboot", True), f"{FOURTH}/claim", "Write secureboot"),
    ("claim.level", asking(f"{TEE}.iss", WEU), f"{FOURTH}/claim", "Write iss"),
    ("claim.not-scalar", asking("x-ms-isolation-tee", "x"), f"{FOURTH}/claim", "object"),
    ("claim.not-scalar", asking("x-ms-azurevm-attested-pcrs", 0), f"{FOURTH}/claim", "array"),
    ("claim.in-array", asking("x-ms-runtime.keys.kid", "HCLAkPub"), f"{FOURTH}/claim", "array"),
    ("claim.in-array", asking("x-ms-runtime.keys.0.kid", "HCLAkPub"), f"{FOURTH}/claim", "array"),
    ("claim.in-array", asking("x-ms-runtime.keys[0]", "HCLAkPub"), f"{FOURTH}/claim", "array"),
    ("claim.every-token", asking("iat", 1), FOURTH, "iat"),
    ("claim.every-boot", asking(f"{TEE}.x-ms-sevsnpvm-reportid", "a" * 64), FOURTH, "one start"),
    ("claim.firmware", asking(f"{TEE}.x-ms-sevsnpvm-microcode-svn", 115), FOURTH, "microcode"),
    ("claim.paravisor", asking(f"{TEE}.x-ms-sevsnpvm-launchmeasurement", OPAQUE), FOURTH, "paravisor release"),
    ("claim.provider", asking("x-ms-policy-hash", "wm9mHlvTU82e8UqoOy1Yj1FBRSNkfe99-69IYDq9eWs"), FOURTH, "policy"),
    ("claim.one-vm", asking("x-ms-azurevm-vmid", "6506B531-1634-431E-99D2-42B7D3414AD0"), FOURTH, "Made again"),
    ("claim.guest", asking("x-ms-azurevm-ostype", "Linux"), FOURTH, "says of itself"),
    ("claim.runtime", asking(f"{TEE}.x-ms-runtime.vm-configuration.secure-boot", True), f"{FOURTH}/claim", "runtime"),
    ("value.case", policy(clause({**SNP, "equals": "SevSnpVm"}, COMPLIANT)), "/anyOf/0/allOf/0/equals", "sevsnpvm"),
    ("value.case", asking(f"{TEE}.x-ms-sevsnpvm-idkeydigest", OPAQUE.upper()), f"{FOURTH}/equals", f"Write {OPAQUE}"),
    ("value.boolean", asking("secureboot", "True"), f"{FOURTH}/equals", "Write true."),
    ("value.boolean", asking("secureboot", "maybe"), f"{FOURTH}/equals", "Write true or false."),
    ("value.boolean", asking("secureboot", 1), f"{FOURTH}/equals", "Write true."),
    ("value.number", asking(f"{TEE}.x-ms-sevsnpvm-vmpl", "0x1"), f"{FOURTH}/equals", "Write 1."),
    ("value.number", asking(f"{TEE}.x-ms-sevsnpvm-vmpl", "007"), f"{FOURTH}/equals", "Write 7."),
    ("value.number", asking(f"{TEE}.x-ms-sevsnpvm-vmpl", 1.5), f"{FOURTH}/equals", "whole number"),
    ("value.form", asking(f"{TEE}.x-ms-sevsnpvm-idkeydigest", "0x" + OPAQUE.upper()), f"{FOURTH}/equals", OPAQUE),
    ("value.form", asking(f"{TEE}.x-ms-sevsnpvm-idkeydigest", "abc"), f"{FOURTH}/equals", "real token"),
    ("value.form", asking("x-ms-azurevm-vmid", 7), f"{FOURTH}/equals", "GUID"),
    ("value.guid-case", asking("x-ms-azurevm-vmid", "6506b531-1634-431e-99d2-42b7d3414ad0"), f"{FOURTH}/equals", "65"),
    ("value.unknown", policy(clause({**SNP, "equals": "sevsnp"})), "/anyOf/0/allOf/0/equals", "Write sevsnpvm"),
    ("value.blank", policy(clause({**SNP, "equals": "sevsnpvm "})), "/anyOf/0/allOf/0/equals", 'Write "sevsnpvm"'),
    ("operator.not-equals", asking("secureboot", True, operator="exists"), f"{FOURTH}/exists", "Write equals"),
    ("clause.no-tee", policy(clause({"claim": "secureboot", "equals": True})), "/anyOf/0", "sevsnpvm"),
    ("clause.no-tee", policy(clause(SNP, {"claim": "secureboot", "equals": True}, rule="anyOf")), "/anyOf/0", "TEE"),
    ("clause.no-tee", policy(clause({"claim": "x-ms-attestation-type", "equals": "azurevm"})), "/anyOf/0", "TEE"),
    ("clause.debug", policy(clause(SNP)), "/anyOf/0", f"{TEE}.x-ms-sevsnpvm-is-debuggable"),
    ("clause.debug-wanted", policy(clause(SNP, {**NO_DEBUG, "equals": "true"})), "/anyOf/0", "Write false"),
    ("clause.debug-implied", policy(clause(SNP, COMPLIANT)), "/anyOf/0", "is-debuggable"),
    ("clause.no-compliance", policy(clause(SNP, NO_DEBUG)), "/anyOf/0", "azure-compliant-cvm"),
    ("clause.any-vm", policy(clause(SNP, COMPLIANT)), "/anyOf/0", "skrkit policy suggest"),
    ("clause.platform", cvm_policy(WEU, guest=False).raw, "/anyOf/0", f"{TEE}."),
    (
        "clause.mixed-levels",
        policy(clause(SNP, {"claim": "x-ms-compliance-status", "equals": "azure-compliant-cvm"})),
        "/anyOf/0/allOf",
        TEE,
    ),
    ("clause.never", policy(clause(SNP, {**SNP, "equals": "tdxvm"})), "/anyOf/0/allOf", "'sevsnpvm' and 'tdxvm'"),
    (
        "clause.never",
        policy(clause(COMPLIANT, {"anyOf": [SNP, {"allOf": [SNP, {**SNP, "equals": "tdxvm"}]}]})),
        "/anyOf/0/allOf/1/anyOf/1/allOf",
        "at once",
    ),
    ("clause.twice", policy(clause(SNP, SNP)), "/anyOf/0/allOf/1", "already"),
    ("clause.twice", policy(clause(NO_DEBUG, {**NO_DEBUG, "equals": "false"})), "/anyOf/0/allOf/1", "already"),
]  # fmt: skip


def only(found: tuple[LintFinding, ...], rule: str) -> list[LintFinding]:
    return [finding for finding in found if finding.id == rule]


@pytest.mark.parametrize(
    ("rule", "text", "pointer", "said"), [pytest.param(*case, id=f"{case[0]}-{n}") for n, case in enumerate(CASES)]
)
def test_each_rule_is_found_where_it_is_broken(rule: str, text: bytes, pointer: str, said: str) -> None:
    found = only(lint_policy(parse_policy(text)), rule)
    assert [finding.pointer for finding in found] == [pointer]
    (finding,) = found
    assert said in f"{finding.what} {finding.fix}"
    assert finding.severity is RULES[rule].severity
    assert finding.why
    assert finding.source
    assert only(lint_bytes(text), rule) == found


def test_every_rule_has_a_case() -> None:
    # those of the text stand in test_text.py, those of the grammar below
    rest = {rule for rule in RULES if not rule.startswith("text.")} - {case[0] for case in CASES}
    assert rest == {"grammar"}


@pytest.mark.parametrize("row", MALFORMED, ids=[row[0] for row in MALFORMED])
def test_a_malformed_policy_gives_findings_and_no_exception(row: tuple[str, str, str, str, str]) -> None:
    """The malformed policies of test_vectors: lint finds what the parser refuses, under the same rule, as an error."""
    _, text, *_ = row
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    found = lint_bytes(text.encode("utf-8", "surrogatepass"))
    assert has_errors(found)
    assert only(found, f"grammar.{caught.value.rule}"), [finding.id for finding in found]


def test_every_broken_rule_is_named_and_the_rest_is_looked_at() -> None:
    text = json.dumps(
        {
            "version": "0.2",
            "anyOf": [
                {"authority": f"{WEU}//", "allOf": []},
                clause({"claim": f"{TEE}.secureboot", "equals": "True"}, {"claim": "a"}, {"claim": "b", "is": 1}),
                {"allOf": [SNP], "anyOf": [SNP]},
                7,
                clause({"claim": "secureboot", "equals": True}),
            ],
        }
    )  # fmt: skip
    found = {(finding.id, finding.pointer) for finding in lint_bytes(text.encode())}
    assert found == {
        ("grammar.version-unknown", "/version"),
        ("authority.slashes", "/anyOf/0/authority"),
        ("grammar.list-empty", "/anyOf/0/allOf"),
        ("claim.level", "/anyOf/1/allOf/0/claim"),
        ("value.boolean", "/anyOf/1/allOf/0/equals"),
        ("grammar.operator-missing", "/anyOf/1/allOf/1"),
        ("grammar.operator-unknown", "/anyOf/1/allOf/2/is"),
        ("grammar.authority-missing", "/anyOf/2/authority"),
        ("grammar.rule-twice", "/anyOf/2"),
        ("grammar.not-an-object", "/anyOf/3"),
        ("clause.no-tee", "/anyOf/4"),
    }


def test_what_the_real_service_released_under_has_notes_alone(captures: Path) -> None:
    """The policy in a recorded release of Key Vault: no rule of ours may call it wrong."""
    response = parse_release_response((captures / "maa-token-and-akv-release" / "release-response.json").read_bytes())
    found = lint_policy(decode_policy(str(response.release_policy["data"])))
    assert [(finding.id, finding.severity) for finding in found] == [
        ("clause.debug-implied", Severity.NOTE),
        ("clause.any-vm", Severity.NOTE),
    ]


def test_ready_policies_have_no_errors() -> None:
    for made in (
        cvm_policy(WEU),
        cvm_policy(WEU, guest=False),
        data_disk_policy(WEU),
        container_policy(WEU, host_data="ab" * 32),
    ):
        assert not has_errors(lint_policy(made)), made.fields()
    container = lint_policy(container_policy(WEU, host_data="ab" * 32))
    assert [finding.id for finding in container] == ["claim.one-vm"]  # the hash binds it, and its claims are at the top


def test_conditions_that_the_vectors_release_on_are_not_called_unmeetable() -> None:
    """The vectors of test_vectors say which policies release; none of those may have a clause that never holds."""
    for name, text, _, releases, _ in VECTORS:
        found = {finding.id for finding in lint_policy(parse_policy(text))}
        assert not (releases and found & {"clause.never", "clause.mixed-levels"}), name


def test_another_service_has_claims_of_its_own() -> None:
    text = policy(clause(SNP, {"claim": "tenant", "equals": 1}, authority="https://attest-a.example"))
    assert not only(lint_policy(parse_policy(text)), "claim.unknown")


def test_a_misspelling_is_said_once() -> None:
    """A path that was meant to ask for the TEE does: no second finding says that nothing asks for it."""
    text = policy(clause({**SNP, "claim": f"{TEE}.x-ms-attestation-Type"}, COMPLIANT, NO_DEBUG))
    assert [finding.id for finding in lint_policy(parse_policy(text))] == ["claim.case", "clause.any-vm"]


def test_errors_come_first_then_warnings_then_notes() -> None:
    order = [finding.severity for finding in lint_policy(parse_policy(policy(clause(SNP, SNP, authority=f"{WEU}/"))))]
    assert order == sorted(order, key=[Severity.ERROR, Severity.WARNING, Severity.NOTE].index)
    assert set(order) == set(Severity)


def test_similar_spellings_are_looked_for_a_bounded_number_of_times() -> None:
    many = [{"claim": f"{TEE}.x-ms-sevsnpvm-vmp{n}", "equals": 0} for n in range(3 * MAX_SEARCHES)]
    found = lint_policy(parse_policy(policy(clause(SNP, *many))))
    assert len(only(found, "claim.misspelt")) == MAX_SEARCHES
    assert len(only(found, "claim.unknown")) == 2 * MAX_SEARCHES


def test_a_finding_shows_itself_as_json() -> None:
    (finding,) = only(lint_policy(parse_policy(policy(clause(SNP)))), "clause.debug")
    assert json.loads(json.dumps(finding.to_json())) == {
        "id": "clause.debug",
        "severity": "error",
        "pointer": "/anyOf/0",
        "what": "no condition rules a debuggable guest out",
        "why": "A guest that the host may debug has no secrets from the host.",
        "fix": 'Add {"claim": "x-ms-isolation-tee.x-ms-sevsnpvm-is-debuggable", "equals": false}.',
        "source": "Azure Attestation, claim sets",
    }


def test_salvage_of_a_sound_policy_is_the_policy() -> None:
    for _, text, *_ in VECTORS:
        assert salvage_policy(json.loads(text)).policy == parse_policy(text)
