"""A token against evidence: real values, written down by other decoders, and each single lie found at its place."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from skrkit.encoding import b64url
from skrkit.token.catalogue import TEE, catalogue
from skrkit.token.comparison import ClaimComparison, ClaimEvidence, compare_claims
from skrkit.token.decode import decode_jwt
from skrkit.token.recompute_runtime import rebuilt_report_data
from skrkit.wire import Json
from tests.attestation.captured import evidence_of, expected_of, pcrs_of

TOKEN = "maa-token-and-akv-release"
AZURE = ("azure-snp-milan-v2", "azure-snp-milan-v3")
SNP = "x-ms-sevsnpvm-"


def captured_token(captures: Path) -> dict[str, Any]:
    return decode_jwt((captures / TOKEN / "maa-token.jwt").read_bytes()).claims


def pair(captures: Path, name: str) -> tuple[dict[str, Any], ClaimEvidence]:
    """The token that the service would make of a captured machine, and that machine's evidence.

    Values come from expected.json, which an independent decoder wrote; names and forms are those of the captured token.
    """
    expected = expected_of(captures, name)
    report = expected["report"]
    hcl = (captures / name / "hcl-report.bin").read_bytes()
    runtime = json.loads(hcl[0x4D4 : 0x4D4 + int.from_bytes(hcl[0x4D0:0x4D4], "little")])
    tee: dict[str, Any] = {
        "x-ms-attestation-type": "sevsnpvm",
        "x-ms-compliance-status": "azure-compliant-cvm",
        f"{SNP}authorkeydigest": report["author_key_digest"],
        f"{SNP}bootloader-svn": report["reported_tcb"]["bootloader"],
        f"{SNP}tee-svn": report["reported_tcb"]["tee"],
        f"{SNP}snpfw-svn": report["reported_tcb"]["snp"],
        f"{SNP}microcode-svn": report["reported_tcb"]["microcode"],
        f"{SNP}familyId": report["family_id"],
        f"{SNP}imageId": report["image_id"],
        f"{SNP}guestsvn": report["guest_svn"],
        f"{SNP}hostdata": report["host_data"],
        f"{SNP}idkeydigest": report["id_key_digest"],
        f"{SNP}is-debuggable": report["policy"]["debug_allowed"],
        f"{SNP}migration-allowed": report["policy"]["migrate_ma_allowed"],
        f"{SNP}smt-allowed": report["policy"]["smt_allowed"],
        f"{SNP}launchmeasurement": report["measurement"],
        f"{SNP}reportdata": report["report_data"],
        f"{SNP}reportid": report["report_id"],
        f"{SNP}vmpl": report["vmpl"],
        "x-ms-runtime": dict(sorted(runtime.items())),
    }
    real = captured_token(captures)
    claims = {name: value for name, value in real.items() if name not in (TEE, "x-ms-runtime")}
    claims[TEE] = tee
    claims["x-ms-azurevm-vmid"] = runtime["vm-configuration"]["vmUniqueId"].upper()
    claims["x-ms-azurevm-attested-pcrs"] = list(range(24))
    evidence = evidence_of(captures, name)
    given = ClaimEvidence(hcl=hcl, quote=evidence.quote or b"", pcrs=pcrs_of(captures, name))
    return claims, given


def verdicts(comparison: ClaimComparison) -> dict[str, str]:
    return {claim.pointer: claim.verdict for claim in comparison.claims}


@pytest.mark.parametrize("name", AZURE)
def test_a_real_machine_agrees_with_the_token_that_its_report_makes(captures: Path, name: str) -> None:
    claims, evidence = pair(captures, name)
    compared = compare_claims(claims, evidence)
    assert [claim.to_json() for claim in compared.of("differs")] == []
    assert [claim.pointer for claim in compared.of("unknown")] == []
    below = {at: verdict for at, verdict in verdicts(compared).items() if at.startswith(f"/{TEE}/")}
    status = below.pop(f"/{TEE}/x-ms-compliance-status")
    assert (status, set(below.values())) == ("only-maa-knows", {"agrees"})
    assert verdicts(compared)["/x-ms-azurevm-vmid"] == "agrees"
    assert verdicts(compared)["/x-ms-azurevm-attested-pcrs"] == "agrees"
    assert verdicts(compared)["/secureboot"] == "not-checked"  # no event log was captured


def test_where_a_value_comes_from_is_said_to_the_byte(captures: Path) -> None:
    claims, evidence = pair(captures, AZURE[1])
    compared = compare_claims(claims, evidence)
    claim = compared.claim(f"/{TEE}/{SNP}microcode-svn")
    assert claim is not None
    assert (claim.found, claim.source) == (219, "SNP report REPORTED_TCB microcode, byte 0x1A7, 1 byte")
    assert evidence.hcl[0x1A7] == 219
    bare = compare_claims(claims[TEE], ClaimEvidence(snp=evidence.hcl[0x20:0x4C0]))
    claim = bare.claim(f"/{SNP}launchmeasurement")
    assert claim is not None
    assert claim.source == "SNP report MEASUREMENT, byte 0x90, 48 bytes"


def test_the_documented_example_of_reported_tcb() -> None:
    """REPORTED_TCB 04 00 00 00 00 00 15 d3: boot loader 4, TEE 0, SNP firmware 21, microcode 211 (Microsoft's tool)."""
    report = bytearray(0x4A0)
    report[0] = 2
    report[0x180:0x188] = bytes.fromhex("04000000000015d3")
    report[0x1A0:0x1E0] = b"\x01" * 64  # a chip id of Milan or Genoa
    svns = {"bootloader-svn": 4, "tee-svn": 0, "snpfw-svn": 21, "microcode-svn": 211}
    claims: dict[str, Json] = {SNP + name: level for name, level in svns.items()}
    compared = compare_claims(claims, ClaimEvidence(snp=bytes(report)))
    assert set(verdicts(compared).values()) == {"agrees"}


def test_a_turin_level_is_not_guessed(captures: Path) -> None:
    report = bytearray((captures / "snp-genoa-v5" / "report.bin").read_bytes())
    report[0x188:0x18A] = bytes([0x1A, 0x02])
    compared = compare_claims({f"{SNP}snpfw-svn": 1}, ClaimEvidence(snp=bytes(report)))
    assert verdicts(compared) == {f"/{SNP}snpfw-svn": "not-checked"}
    assert "Turin" in compared.claims[0].why


def test_every_single_lie_is_found_and_nothing_else(captures: Path) -> None:
    claims, evidence = pair(captures, AZURE[1])
    honest = compare_claims(claims, evidence)
    for claim in honest.of("agrees"):
        lying = json.loads(json.dumps(claims))
        parent: Any = lying
        *way, last = claim.pointer.split("/")[1:]
        for step in way:
            parent = parent[int(step)] if isinstance(parent, list) else parent[step]
        if last == "kid":
            continue  # renames the key: every member of it then differs
        parent[last] = _lie(parent[last])
        compared = compare_claims(lying, evidence)
        assert [found.pointer for found in compared.of("differs")] == [claim.pointer]
        assert compared.of("differs")[0].expected is not None


def _lie(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, list):
        return [*value, "more"]
    return ("1" if value[:1] != "1" else "2") + value[1:]


def test_true_is_not_one(captures: Path) -> None:
    claims, evidence = pair(captures, AZURE[1])
    claims[TEE][f"{SNP}smt-allowed"] = 1
    compared = compare_claims(claims, evidence)
    assert [claim.pointer for claim in compared.of("differs")] == [f"/{TEE}/{SNP}smt-allowed"]


def test_members_that_one_side_lacks(captures: Path) -> None:
    claims, evidence = pair(captures, AZURE[1])
    runtime = claims[TEE]["x-ms-runtime"]
    runtime["keys"] = [key for key in runtime["keys"] if key["kid"] != "HCLAkPub"]
    runtime["vm-configuration"]["debugger"] = False
    del claims[TEE][f"{SNP}is-debuggable"]
    compared = compare_claims(claims, evidence)
    found = {claim.pointer.rpartition("x-ms-runtime")[2]: claim for claim in compared.of("differs")}
    left_out = {f"/keys/HCLAkPub/{name}" for name in ("kid", "key_ops", "kty", "e", "n")}
    assert set(found) == left_out | {"/vm-configuration/debugger"}
    assert not any(found[name].present for name in left_out)
    assert found["/vm-configuration/debugger"].why == "the evidence has no such member"
    assert any(f"{SNP}is-debuggable" in note for note in compared.notes)


def test_another_machines_evidence_differs_where_the_machines_do(captures: Path) -> None:
    claims, _ = pair(captures, "azure-snp-milan-v2")
    _, other = pair(captures, "azure-snp-milan-v3")
    differs = {claim.pointer for claim in compare_claims(claims, other).of("differs")}
    assert {f"/{TEE}/{SNP}reportid", f"/{TEE}/{SNP}reportdata", "/x-ms-azurevm-vmid"} <= differs
    assert f"/{TEE}/{SNP}vmpl" not in differs


def test_the_captured_token_without_evidence(captures: Path) -> None:
    compared = compare_claims(captured_token(captures), ClaimEvidence())
    assert set(verdicts(compared).values()) == {"only-maa-knows", "not-checked"}
    assert any("the token binds its keys" in note for note in compared.notes)


def test_the_captured_token_with_the_runtime_data_it_was_made_of(captures: Path) -> None:
    """The paravisor's bytes, put together by hand as the capture's README says, are evidence of the same machine."""
    claims = captured_token(captures)
    runtime = claims[TEE]["x-ms-runtime"]
    keys = [{name: key[name] for name in ("kid", "key_ops", "kty", "e", "n")} for key in runtime["keys"]]
    configuration = runtime["vm-configuration"]
    data = json.dumps({"keys": keys, "vm-configuration": configuration}, separators=(",", ":")).encode()
    assert hashlib.sha256(data).hexdigest() == "c6500859af95440206aac5e93eb50a0f2cfd4fa2c5485e05a5c77a5d81c3dee3"
    compared = compare_claims(claims, ClaimEvidence(runtime_data=data))
    assert compared.of("differs") == ()
    agreed = {claim.pointer for claim in compared.of("agrees")}
    assert {f"/{TEE}/{SNP}reportdata", f"/{TEE}/x-ms-runtime/keys/0/n", "/x-ms-azurevm-vmid"} <= agreed
    changed = data.replace(b'"secure-boot":true', b'"secure-boot":false')
    differs = {claim.pointer for claim in compare_claims(claims, ClaimEvidence(runtime_data=changed)).of("differs")}
    assert differs == {f"/{TEE}/{SNP}reportdata", f"/{TEE}/x-ms-runtime/vm-configuration/secure-boot"}


def test_a_key_that_the_token_hides_breaks_its_own_binding(captures: Path) -> None:
    claims = captured_token(captures)
    claims[TEE]["x-ms-runtime"]["keys"][0]["e"] = "Aw"
    assert rebuilt_report_data(claims[TEE]["x-ms-runtime"]) != claims[TEE][f"{SNP}reportdata"]
    assert any("proves nothing" in note for note in compare_claims(claims, ClaimEvidence()).notes)


@pytest.mark.parametrize("other", ["container", "token"])
def test_a_container_token_is_held_against_its_bare_report(captures: Path, other: str) -> None:
    """ACI: HOST_DATA is the SHA-256 of the security policy, written down apart from the report."""
    folder = captures / "aci-snp-milan-v2"
    policy = base64.b64decode((folder / "security-policy.base64").read_bytes())
    host_data = hashlib.sha256(policy).hexdigest()
    claims: dict[str, Json] = {f"{SNP}hostdata": host_data if other == "container" else "0" * 64}
    compared = compare_claims(claims, ClaimEvidence(snp=(folder / "report.bin").read_bytes()))
    assert verdicts(compared) == {f"/{SNP}hostdata": "agrees" if other == "container" else "differs"}


def test_tdx_values_of_a_real_tdreport(captures: Path) -> None:
    hcl = (captures / "azure-tdx-hcl" / "hcl-report.bin").read_bytes()
    report = expected_of(captures, "azure-tdx-hcl")["td_report"]
    tee: dict[str, Json] = {
        "x-ms-attestation-type": "tdxvm",
        "tdx_mrtd": report["mrtd"],
        "tdx_xfam": report["xfam"],
        "tdx_rtmr0": report["rtmr"][0],
        "tdx_td_attributes": report["td_attributes"],
        "tdx_td_attributes_debug": False,
        "tdx_report_data": report["report_data"],
        "dbgstat": "disabled",
    }
    compared = compare_claims({"x-ms-attestation-type": "azurevm", TEE: tee}, ClaimEvidence(hcl=hcl))
    assert {claim.pointer for claim in compared.of("agrees")} == {f"/{TEE}/{name}" for name in tee}
    snp: dict[str, Json] = {"x-ms-attestation-type": "sevsnpvm", f"{SNP}vmpl": 0}
    compared = compare_claims({"x-ms-attestation-type": "azurevm", TEE: snp}, ClaimEvidence(hcl=hcl))
    assert verdicts(compared)[f"/{TEE}/x-ms-attestation-type"] == "differs"
    assert verdicts(compared)[f"/{TEE}/{SNP}vmpl"] == "not-checked"


def test_secure_boot_of_a_real_event_log(captures: Path) -> None:
    log = (captures / "gce-snp-eventlog" / "eventlog.bin").read_bytes()
    claims: dict[str, Json] = {
        "x-ms-attestation-type": "azurevm",
        "secureboot": False,
        "x-ms-azurevm-is-windows": False,
    }
    compared = compare_claims(claims, ClaimEvidence(event_log=log))
    name = "SecureBoot".encode("utf-16-le")
    assert log[log.index(name) + len(name)] == 0  # the variable's value follows its name: this guest booted without
    assert verdicts(compared)["/secureboot"] == "agrees"
    assert verdicts(compared)["/x-ms-azurevm-is-windows"] == "agrees"  # Ubuntu: its shim measures into PCR 14 too
    claims["secureboot"] = True
    assert verdicts(compare_claims(claims, ClaimEvidence(event_log=log)))["/secureboot"] == "differs"
    wrong = ClaimEvidence(event_log=log, pcrs={7: bytes(32)})
    said = compare_claims(claims, wrong).claim("/secureboot")
    assert said is not None
    assert (said.verdict, "PCR 7" in said.why) == ("not-checked", True)


def test_the_transfer_key_of_a_tpm(captures: Path) -> None:
    modulus = bytes([0xC3]) + bytes(range(255))
    # TPMT_PUBLIC of an RSA-2048 key, field by field: TPM 2.0 Library, Part 2, TPMT_PUBLIC
    area = bytes.fromhex("0001000b000204720000001000100800000000000100") + modulus
    public = len(area).to_bytes(2, "big") + area
    key: dict[str, Json] = {
        "e": "AQAB",
        "key_ops": ["encrypt"],
        "kid": "TpmEphemeralEncryptionKey",
        "kty": "RSA",
        "n": b64url(modulus),
    }
    payload: dict[str, Json] = {"nonce": base64.b64encode(b"ADE0101").decode()}
    claims: dict[str, Json] = {
        "x-ms-attestation-type": "azurevm",
        "x-ms-runtime": {"client-payload": dict(payload), "keys": [dict(key)]},
    }
    given = ClaimEvidence(key_public=public, nonce="ADE0101")
    compared = compare_claims(claims, given)
    assert set(verdicts(compared).values()) == {"agrees", "only-maa-knows"}
    replayed = compare_claims(claims, dataclasses.replace(given, nonce="another"))
    assert [claim.pointer for claim in replayed.of("differs")] == ["/x-ms-runtime/client-payload/nonce"]
    two: Any = json.loads(json.dumps(claims))
    two["x-ms-runtime"]["keys"].append({**key, "kid": "mine"})
    differs = {claim.pointer for claim in compare_claims(two, given).of("differs")}
    assert differs == {f"/x-ms-runtime/keys/1/{name}" for name in key}
    real = captured_token(captures)
    assert f"{real['x-ms-runtime']['keys'][0]['n']}" in str(compare_claims(real, given).of("differs"))


def test_no_claim_of_the_catalogue_is_unknown_and_none_passes_in_silence() -> None:
    for fact in catalogue():
        if "." in fact.path or fact.path == TEE:
            continue
        placed: list[dict[str, Json]] = [{fact.path: "x"}, {"x-ms-attestation-type": "azurevm", TEE: {fact.path: "x"}}]
        for claims in placed:
            seen = verdicts(compare_claims(claims, ClaimEvidence()))
            assert "agrees" not in seen.values()
            assert "differs" not in seen.values()
    assert verdicts(compare_claims({"x-ms-sevsnpvm-new": 1}, ClaimEvidence())) == {"/x-ms-sevsnpvm-new": "unknown"}


def test_no_claim_is_left_out(captures: Path) -> None:
    claims, evidence = pair(captures, AZURE[0])
    claims["custom"] = {"inner": [1, 2]}
    seen = verdicts(compare_claims(claims, evidence))
    assert seen["/custom"] == "unknown"
    tops = {at.split("/")[1] for at in seen}
    assert tops == set(claims)
    assert {at.split("/")[2] for at in seen if at.startswith(f"/{TEE}/")} == set(claims[TEE])


@pytest.mark.parametrize("data", [b"", b"HCLA", b"\xff" * 3000, b"HCLA" + b"\x01\0\0\0" * 400])
def test_bad_evidence_recomputes_nothing_and_says_why(captures: Path, data: bytes) -> None:
    claims, _ = pair(captures, AZURE[0])
    given = ClaimEvidence(hcl=data, quote=data, event_log=data, key_public=data)
    compared = compare_claims(claims, given)
    assert set(verdicts(compared).values()) <= {"not-checked", "only-maa-knows"}
    assert all(claim.why for claim in compared.of("not-checked"))


def test_an_id_in_the_other_byte_order_is_named(captures: Path) -> None:
    claims, evidence = pair(captures, AZURE[1])  # 7DF7B373-B947-4AAA-96E5-C358F2A03D20
    claims["x-ms-azurevm-vmid"] = "73B3F77D-47B9-AA4A-96E5-C358F2A03D20"
    (claim,) = compare_claims(claims, evidence).of("differs")
    assert (claim.pointer, "byte order" in claim.why) == ("/x-ms-azurevm-vmid", True)
