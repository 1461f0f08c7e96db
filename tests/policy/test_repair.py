"""The smallest changes: each holds, is as small as can be, and is called dangerous where it lets more machines pass."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from skrkit.policy.evaluate import evaluate
from skrkit.policy.model import ReleasePolicy
from skrkit.policy.parse import parse_policy
from skrkit.policy.repair import MAX_CONDITIONS, MAX_REPAIRS, Repair, repairs
from skrkit.policy.templates import cvm_policy, data_disk_policy
from skrkit.token.decode import decode_jwt
from tests.policy.test_vectors import VECTORS, A, all_of, any_of, c, policy

WEU = "https://sharedweu.weu.attest.azure.net"
EUS = "https://sharedeus.eus.attest.azure.net"
TEE = "x-ms-isolation-tee"
SNP = c(f"{TEE}.x-ms-attestation-type", "sevsnpvm")
COMPLIANT = c(f"{TEE}.x-ms-compliance-status", "azure-compliant-cvm")


@pytest.fixture
def claims(captures: Path) -> dict[str, Any]:
    return decode_jwt((captures / "maa-token-and-akv-release" / "maa-token.jwt").read_bytes()).claims


def asking(*conditions: dict[str, Any], authority: str = WEU) -> ReleasePolicy:
    return parse_policy(policy(all_of(authority, *conditions)))


def edits(repair: Repair) -> list[tuple[str, str, Any, Any]]:
    return [(edit.kind, edit.pointer, edit.before, edit.after) for edit in repair.edits]


def test_a_policy_that_holds_needs_none(claims: dict[str, Any]) -> None:
    assert repairs(cvm_policy(WEU), claims) == ()


def test_a_platform_policy_gets_the_prefix_of_a_guest(claims: dict[str, Any]) -> None:
    """The captured guest token against the policy that Azure's own command line writes for disks."""
    (repair,) = repairs(cvm_policy(WEU, guest=False), claims)
    assert repair.safe
    assert edits(repair) == [
        ("claim path", "/anyOf/0/allOf/0/claim", "x-ms-attestation-type", f"{TEE}.x-ms-attestation-type"),
        ("claim path", "/anyOf/0/allOf/1/claim", "x-ms-compliance-status", f"{TEE}.x-ms-compliance-status"),
    ]
    assert repair.policy == cvm_policy(WEU)


def test_a_guests_policy_loses_the_prefix_for_a_platform_token(claims: dict[str, Any]) -> None:
    platform = {**claims[TEE], "iss": WEU}
    (repair,) = repairs(cvm_policy(WEU), platform)
    assert repair.safe
    assert repair.policy == cvm_policy(WEU, guest=False)


SPELLING: list[tuple[dict[str, Any], list[tuple[str, str, Any, Any]]]] = [
    (
        c(f"{TEE}.x-ms-attestation-Type", "sevsnpvm"),
        [("claim path", "/claim", f"{TEE}.x-ms-attestation-Type", f"{TEE}.x-ms-attestation-type")],
    ),
    (
        c(f"{TEE}.x-ms-atestation-type", "sevsnpvm"),
        [("claim path", "/claim", f"{TEE}.x-ms-atestation-type", f"{TEE}.x-ms-attestation-type")],
    ),
    (c(f"{TEE}.secureboot", True), [("claim path", "/claim", f"{TEE}.secureboot", "secureboot")]),
    (c("secureboot", "True"), [("value", "/equals", "True", True)]),
    (c("secureboot", "yes"), [("value", "/equals", "yes", True)]),
    (c("secureboot", " true"), [("value", "/equals", " true", True)]),
    (c(f"{TEE}.x-ms-attestation-type", "SEVSNPVM"), [("value", "/equals", "SEVSNPVM", "sevsnpvm")]),
    (c(f"{TEE}.x-ms-sevsnpvm-vmpl", "0x0"), [("value", "/equals", "0x0", 0)]),
    (
        c("x-ms-azurevm-vmid", "6506b531-1634-431e-99d2-42b7d3414ad0"),
        [
            (
                "value",
                "/equals",
                "6506b531-1634-431e-99d2-42b7d3414ad0",
                "6506B531-1634-431E-99D2-42B7D3414AD0",
            )
        ],
    ),
    (
        c("x-ms-sevsnpvm-is-debuggable", "False"),
        [
            ("claim path", "/claim", "x-ms-sevsnpvm-is-debuggable", f"{TEE}.x-ms-sevsnpvm-is-debuggable"),
            ("value", "/equals", "False", False),
        ],
    ),
    (
        {"claim": f"{TEE}.x-ms-sevsnpvm-guestsvn", "greaterOrEquals": 1},
        [
            (
                "operator",
                "",
                {"claim": f"{TEE}.x-ms-sevsnpvm-guestsvn", "greaterOrEquals": 1},
                {"claim": f"{TEE}.x-ms-sevsnpvm-guestsvn", "equals": 2},
            )
        ],
    ),
]


@pytest.mark.parametrize(("condition", "expected"), SPELLING, ids=[str(row[0]) for row in SPELLING])
def test_a_corrected_spelling_is_safe(
    claims: dict[str, Any], condition: dict[str, Any], expected: list[tuple[str, str, Any, Any]]
) -> None:
    first, *_ = repairs(asking(SNP, condition), claims)
    assert first.safe, first.why
    assert edits(first) == [(kind, f"/anyOf/0/allOf/1{at}", before, after) for kind, at, before, after in expected]


@pytest.mark.parametrize(
    "authority",
    [
        f"{WEU}//",
        f"{WEU}/certs",
        WEU.replace("https", "http"),
        WEU.removeprefix("https://"),
        f"{WEU}:443",
        f" {WEU} ",
        "https://sharedweu.weu.attest.azure.com",
        "https://sharedweuu.weu.attest.azure.net",
    ],
)
def test_a_misspelt_authority_is_corrected(claims: dict[str, Any], authority: str) -> None:
    (repair,) = repairs(asking(SNP, COMPLIANT, authority=authority), claims)
    assert repair.safe
    assert edits(repair) == [("authority", "/anyOf/0/authority", authority, WEU)]


def test_another_regions_provider_is_added_and_the_first_stays(claims: dict[str, Any]) -> None:
    (repair,) = repairs(cvm_policy(EUS), claims)
    assert repair.safe
    assert [edit.kind for edit in repair.edits] == ["add authority"]
    assert [clause.authority for clause in repair.policy.root] == [EUS, WEU]
    assert evaluate(repair.policy, {**claims, "iss": EUS}).holds


def test_what_is_edited_in_an_added_clause_is_edited_there(claims: dict[str, Any]) -> None:
    before = cvm_policy(EUS, guest=False)
    (repair,) = repairs(before, claims)
    assert [(edit.kind, edit.pointer) for edit in repair.edits] == [
        ("add authority", "/anyOf/-"),
        ("claim path", "/anyOf/1/allOf/0/claim"),
        ("claim path", "/anyOf/1/allOf/1/claim"),
    ]
    assert repair.policy.root[0] == before.root[0]


@pytest.mark.parametrize(
    ("authority", "issuer"),
    [
        (WEU, "https://attest.attacker.example"),
        (WEU, "https://mine.weu.attest.azure.net"),
        (WEU, "http://sharedeus.eus.attest.azure.net"),
        ("https://attest-a.example/tenant-a", "https://attest-a.example/tenant-b"),
        ("https://attest-a.example", "https://attest-a.example:8443"),
        ("https://sharedweu.weu.attest.azure.net", "https://sharedwеu.weu.attest.azure.net"),  # a Cyrillic letter
    ],
)
def test_an_authority_that_is_not_microsofts_is_never_safe(claims: dict[str, Any], authority: str, issuer: str) -> None:
    found = repairs(asking(SNP, COMPLIANT, authority=authority), {**claims, "iss": issuer})
    assert not [repair for repair in found if repair.safe]


def test_a_provider_of_ones_own_is_not_corrected_into_microsofts(claims: dict[str, Any]) -> None:
    """Its attestation policy may be stricter: the shared provider is added beside it, not put in its place."""
    (repair,) = repairs(asking(SNP, COMPLIANT, authority="https://haredweu.weu.attest.azure.net"), claims)
    assert [edit.kind for edit in repair.edits] == ["add authority"]


def debuggable(claims: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(claims)
    changed[TEE]["x-ms-sevsnpvm-is-debuggable"] = True
    del changed[TEE]["x-ms-compliance-status"]
    return changed


DANGERS: list[tuple[dict[str, Any], str]] = [
    (c(f"{TEE}.x-ms-sevsnpvm-is-debuggable", False), "whose memory the host can read"),
    (c(f"{TEE}.x-ms-sevsnpvm-is-debuggable", "false"), "whose memory the host can read"),
    (COMPLIANT, "does not call healthy"),
    (c(f"{TEE}.x-ms-attestation-type", "tdxvm"), "without memory encryption"),
    (c("x-ms-attestation-type", "sevsnpvmx"), "without memory encryption"),
    (c("x-ms-azurevm-vmid", "6506B531-1634-431E-99D2-42B7D3414AD1"), "any other VM"),
    (c(f"{TEE}.x-ms-sevsnpvm-launchmeasurement", "00" * 48), "another paravisor"),
    (c(f"{TEE}.x-ms-sevsnpvm-microcode-svn", 255), "other firmware"),
    ({"claim": f"{TEE}.x-ms-sevsnpvm-guestsvn", "greaterOrEquals": 9}, "another paravisor"),
    (c("x-ms-policy-hash", "WM9mHlvTU82e8UqoOy1Yj1FBRSNkfe99-69IYDq9eWs"), "kept out"),  # base64: case is no spelling
    (c("secureboot", False), "configured or booted otherwise"),
]


@pytest.mark.parametrize(("condition", "why"), DANGERS, ids=[str(row[0]) for row in DANGERS])
def test_what_lets_more_machines_pass_is_dangerous(claims: dict[str, Any], condition: dict[str, Any], why: str) -> None:
    found = repairs(asking(SNP, condition), debuggable(claims))
    assert found
    for repair in found:
        assert not repair.safe
        assert why in repair.why
        assert any(not edit.safe for edit in repair.edits)


def test_a_debuggable_guest_is_offered_with_both_dangers_and_no_safe_way(claims: dict[str, Any]) -> None:
    found = repairs(asking(SNP, c(f"{TEE}.x-ms-sevsnpvm-is-debuggable", False)), debuggable(claims))
    assert [edits(repair) for repair in found] == [
        [("value", "/anyOf/0/allOf/1/equals", False, True)],
        [("drop condition", "/anyOf/0/allOf/1", c(f"{TEE}.x-ms-sevsnpvm-is-debuggable", False), None)],
    ]


def test_what_the_guest_wrote_is_no_safe_place_for_a_claim(claims: dict[str, Any]) -> None:
    """A client's payload can have a member of any name: moving a condition there would let every guest pass."""
    bare = copy.deepcopy(claims)
    del bare[TEE]["x-ms-compliance-status"]
    bare["x-ms-runtime"]["client-payload"] = {"x-ms-compliance-status": "azure-compliant-cvm"}
    found = repairs(asking(SNP, COMPLIANT), bare)
    assert found
    assert not [repair for repair in found if repair.safe]
    paths = [edit for repair in found for edit in repair.edits if edit.kind == "claim path"]
    assert [edit.after for edit in paths] == ["x-ms-runtime.client-payload.x-ms-compliance-status"]
    assert "see who writes it" in paths[0].why


def test_runtime_data_of_a_container_is_its_own_word(claims: dict[str, Any]) -> None:
    path = "x-ms-runtime.vm-configuration.vmUniqueId"
    container = {"iss": WEU, "x-ms-attestation-type": "sevsnpvm", "x-ms-runtime": claims[TEE]["x-ms-runtime"]}
    wanted = claims[TEE]["x-ms-runtime"]["vm-configuration"]["vmUniqueId"]
    found = repairs(asking(c("x-ms-attestation-type", "sevsnpvm"), c(f"{TEE}.{path}", wanted)), container)
    assert found
    assert not [repair for repair in found if repair.safe]


def test_a_typing_slip_that_demands_debugging_is_turned_to_no(claims: dict[str, Any]) -> None:
    first, *_ = repairs(asking(SNP, c(f"{TEE}.x-ms-sevsnpvm-is-debuggable", True)), claims)
    assert first.safe
    assert edits(first) == [("value", "/anyOf/0/allOf/1/equals", True, False)]


def test_one_alternative_is_enough(claims: dict[str, Any]) -> None:
    both = {"anyOf": [c(f"{TEE}.x-ms-attestation-type", "tdxvm"), c("x-ms-attestation-type", "sevsnpvm")]}
    first, *_ = repairs(asking(both, COMPLIANT), claims)
    assert first.safe
    assert edits(first) == [
        (
            "claim path",
            "/anyOf/0/allOf/0/anyOf/1/claim",
            "x-ms-attestation-type",
            f"{TEE}.x-ms-attestation-type",
        )
    ]


def test_an_alternative_is_not_dropped_and_a_group_is_not_emptied(claims: dict[str, Any]) -> None:
    for one in (asking(c("nobody", 1)), parse_policy(policy(any_of(WEU, c("nobody", 1), c("knows", 2))))):
        assert repairs(one, claims) == ()


def test_the_nearest_clauses_of_a_policy_for_every_region_are_mended(claims: dict[str, Any]) -> None:
    hosts = [f"https://shared{x}.{x}.attest.azure.net" for x in ("cus", "wus", "eus", "weu", "neu", "uks")]
    clauses = [cvm_policy(host, guest=False).root[0].document() for host in hosts]
    (repair,) = repairs(parse_policy(json.dumps({"version": "1.0.0", "anyOf": clauses})), claims)
    assert [edit.pointer for edit in repair.edits] == ["/anyOf/3/allOf/0/claim", "/anyOf/3/allOf/1/claim"]


def test_a_clause_with_too_much_in_the_way_is_left_alone(claims: dict[str, Any]) -> None:
    many = [c(f"{TEE}.x-ms-attestation-Type", "sevsnpvm") for _ in range(MAX_CONDITIONS)]
    (found,) = repairs(asking(*many), claims)
    assert found.count == MAX_CONDITIONS
    assert repairs(asking(*many, SNP), claims) == ()


def test_claims_without_an_issuer_fit_no_authority() -> None:
    assert repairs(asking(SNP), {"x-ms-isolation-tee": {"x-ms-attestation-type": "sevsnpvm"}}) == ()
    assert repairs(asking(SNP), {"iss": 7}) == ()


@pytest.mark.parametrize("row", VECTORS, ids=[row[0] for row in VECTORS])
def test_repairs_of_the_references_vectors_hold(row: tuple[str, bytes, dict[str, Any], bool, str]) -> None:
    _, text, claims, releases, _ = row
    found = repairs(parse_policy(text), claims)
    assert len(found) <= MAX_REPAIRS
    assert not (releases and found)
    for repair in found:
        assert evaluate(repair.policy, claims).holds
        assert repair.count == len(repair.edits) > 0


def test_a_repair_shows_itself_as_json(claims: dict[str, Any]) -> None:
    (repair,) = repairs(data_disk_policy(EUS), claims)
    shown = json.loads(json.dumps(repair.to_json()))
    assert shown["safe"] is True
    assert shown["count"] == 1
    assert shown["why"].startswith("sharedweu.weu.attest.azure.net is a shared provider of Microsoft's")
    (edit,) = shown["edits"]
    assert edit["pointer"] == "/anyOf/-"
    assert edit["before"] is None
    assert parse_policy(json.dumps(shown["policy"])) == repair.policy
    assert A not in json.dumps(shown)
