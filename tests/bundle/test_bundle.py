"""A bundle of real captures: what it proves, it proves by AMD's and Microsoft's signatures, long after and offline."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.bundle.archive import pack, unpack
from skrkit.bundle.bundle import open_bundle
from skrkit.bundle.making import Choice, make_bundle
from skrkit.bundle.manifest import NAME, VERSION
from skrkit.bundle.replay import replay
from skrkit.diagnosis.case import Case, Exchange
from skrkit.diagnosis.verification import verified_evidence
from skrkit.errors import ParseError, SkrkitError, VerificationError
from tests.attestation.captured import pcrs_of
from tests.token.test_comparison import pair

AZURE = "azure-snp-milan-v3"
VM_ID = "7DF7B373-B947-4AAA-96E5-C358F2A03D20"  # as the capture's README says
CHIP_ID = "2e0e62a0e6f39bc491381b091ff79cfe03ad0b42a6bbe764fd408923963d9097440365dbf8c3412c8da4969024d81b19c1d4f12197f460bf2b5283a25e32f684"  # noqa: E501
AT = datetime(2026, 11, 24, tzinfo=UTC)
NOW = datetime(2027, 6, 1, tzinfo=UTC)
AUTHORITY = "https://sharedweu.weu.attest.azure.net"
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
POLICY = {
    "version": "1.0.0",
    "anyOf": [
        {
            "authority": AUTHORITY,
            "allOf": [
                {"claim": "x-ms-isolation-tee.x-ms-attestation-type", "equals": "sevsnpvm"},
                {"claim": "x-ms-isolation-tee.x-ms-runtime.vm-configuration.vmUniqueId", "equals": VM_ID},
            ],
        }
    ],
}


def real_case(captures: Path) -> Case:
    """The captured machine, with the claims that its report makes and a refusal in Key Vault's words."""
    claims, _ = pair(captures, AZURE)
    folder = captures / AZURE
    return Case(
        at=AT,
        world="azure",
        authority=AUTHORITY,
        claims=claims,
        token_header={"alg": "RS256", "kid": "x"},
        token_verdict={"verdict": "ok", "key_id": "x"},
        policy=json.dumps(POLICY).encode(),
        vm={"name": "payroll-cvm", "properties": {"vmId": VM_ID.lower()}},
        access_token={"oid": TENANT, "aud": "https://vault.azure.net"},
        asked={"vault": "contosokv", "key": "payroll", "vm": "payroll-cvm"},
        evidence={
            "hcl-report": (folder / "hcl-report.bin").read_bytes(),
            "vcek": (folder / "vcek.der").read_bytes(),
            "chain": (captures / "amd-roots" / "milan.pem").read_bytes(),
            "quote": (folder / "quote-msg.bin").read_bytes(),
            "quote-signature": (folder / "quote-sig.bin").read_bytes(),
            "pcrs": json.dumps({str(at): value.hex() for at, value in pcrs_of(captures, AZURE).items()}).encode(),
        },
        exchanges=(
            Exchange(
                service="vault",
                method="POST",
                url=f"https://contosokv.vault.azure.net/keys/payroll/{'a1' * 16}/release?api-version=7.4",
                status=403,
                response_body={
                    "error": {"code": "Forbidden", "message": f"The user, group or application 'oid={TENANT}' does not"}
                },
            ),
        ),
    )


def token_case(captures: Path) -> Case:
    """The captured token of the real service, at a time when it held."""
    folder = captures / "maa-token-and-akv-release"
    return Case(
        at=datetime(2022, 12, 24, tzinfo=UTC),
        world="azure",
        authority=AUTHORITY,
        token=(folder / "maa-token.jwt").read_bytes().strip(),
        jwks=(folder / "maa-jwks.json").read_bytes(),
    )


def made(case: Case, **chosen: bool) -> bytes:
    return make_bundle(case, now=NOW, skrkit="0.1.0", choice=Choice(**chosen))


def refitted(data: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """The bundle with its files changed and a manifest that fits again: what a forger would hand on."""
    import hashlib

    files = unpack(data)
    change(files)
    manifest = json.loads(files[NAME])
    manifest["files"] = [
        {**entry, "size": len(files[entry["name"]]), "sha256": hashlib.sha256(files[entry["name"]]).hexdigest()}
        for entry in manifest["files"]
        if entry["name"] in files
    ]
    files[NAME] = json.dumps(manifest).encode()
    return pack(files)


def test_real_evidence_verifies_out_of_the_bundle_against_amds_roots(captures: Path) -> None:
    bundle = open_bundle(made(real_case(captures)))
    result = verified_evidence(bundle.case)
    assert result is not None
    assert (result.verdict, result.root) == ("verified", "AMD")
    replayed = replay(bundle)
    assert {check.name: check.verdict for check in replayed.checks} == {
        "evidence": "same",
        "token": "not-checked",
        "claims": "same",
        "decision": "same",
        "explanation": "same",
    }
    assert replayed.exit_code == 0
    counts = bundle.recorded["claims"]["counts"]
    assert isinstance(counts, dict)
    assert counts["differs"] == 0
    assert int(str(counts["agrees"])) >= 30
    assert bundle.recorded["decision"]["holds"] is True  # the policy names the VM, and the id was not pseudonymised


def test_identifiers_go_and_what_the_evidence_shows_is_said(captures: Path) -> None:
    data = made(real_case(captures))
    files = unpack(data)
    text = b"".join(content for name, content in files.items() if not name.startswith("evidence/")).lower()
    for gone in ("contosokv", "payroll", TENANT, "a1" * 16):
        assert gone.encode() not in text, gone
    manifest = open_bundle(data).manifest
    carried = {(row["file"], str(row["identifier"]).partition(",")[0]) for row in manifest.carried}
    assert ("evidence/hcl-report.bin", "vmUniqueId") in carried
    assert ("evidence/vcek.pem", "hwID") in carried
    assert VM_ID.encode() in files["evidence/hcl-report.bin"]
    where = next(str(row["where"]) for row in manifest.carried if str(row["identifier"]).startswith("CHIP_ID"))
    assert where == "byte 0x1C0, 64 bytes"
    assert files["evidence/hcl-report.bin"][0x1C0:0x200].hex() == CHIP_ID


def test_without_evidence_no_id_of_the_machine_is_left(captures: Path) -> None:
    data = made(real_case(captures), with_evidence=False)
    assert VM_ID.lower().encode() not in data.lower()
    assert CHIP_ID.encode() not in data
    bundle = open_bundle(data)
    assert bundle.manifest.carried == ()
    assert bundle.recorded["evidence"]["verdict"] == "verified"
    replayed = {check.name: check.verdict for check in replay(bundle).checks}
    assert (replayed["evidence"], replayed["claims"], replayed["decision"]) == ("not-checked", "not-checked", "same")
    assert bundle.recorded["decision"]["holds"] is True  # claims and policy have the same pseudonym


def test_identifiers_can_be_kept(captures: Path) -> None:
    data = made(real_case(captures), with_identifiers=True)
    assert TENANT.encode() in data
    assert b"contosokv" in data
    assert open_bundle(data).manifest.redaction["identifiers"] == "kept"


def test_the_real_token_is_left_out_and_its_verdict_stays(captures: Path) -> None:
    case = token_case(captures)
    data = made(case)
    assert case.token not in data
    assert case.token.rpartition(b".")[2] not in data  # nor its signature alone
    bundle = open_bundle(data)
    assert bundle.case.token == b""
    assert bundle.case.claims["iat"] == 1671836418
    assert (bundle.recorded["token"]["verdict"], bundle.recorded["token"]["recorded"]) == ("ok", True)
    assert any("token" in text for text in bundle.manifest.left_out)


def test_the_real_token_verifies_again_where_it_was_asked_for(captures: Path) -> None:
    bundle = open_bundle(made(token_case(captures), with_token=True, with_identifiers=True))
    (check,) = [check for check in replay(bundle).checks if check.name == "token"]
    assert (check.verdict, check.outcome["verdict"]) == ("same", "ok")
    # keys as plain numbers verify it as well
    bundle = open_bundle(made(token_case(captures), with_token=True))
    assert next(check for check in replay(bundle).checks if check.name == "token").verdict == "same"


def test_a_token_that_does_not_verify_is_recorded_with_its_step(captures: Path) -> None:
    case = token_case(captures)
    late = replace(case, at=NOW)
    assert open_bundle(made(late)).recorded["token"]["step"] == "token.times"
    head, body, signature = case.token.split(b".")
    forged = replace(case, token=b".".join([head, body, signature[:-4] + b"AAAA"]))
    recorded = open_bundle(made(forged)).recorded["token"]
    assert (recorded["verdict"], recorded["step"]) == ("failed", "token.signature")
    no_token = replace(case, token=b"not a token")
    assert open_bundle(made(no_token)).recorded["token"]["verdict"] == "failed"
    no_keys = replace(case, jwks=b"")
    assert open_bundle(made(no_keys)).recorded["token"]["verdict"] == "not-checked"


def test_forged_evidence_comes_out_otherwise_than_recorded(captures: Path) -> None:
    """A manifest that fits again deceives nobody: the processor's signature does not."""

    def other_measurement(files: dict[str, bytes]) -> None:
        report = bytearray(files["evidence/hcl-report.bin"])
        report[0xB0] ^= 1
        files["evidence/hcl-report.bin"] = bytes(report)

    bundle = open_bundle(refitted(made(real_case(captures)), other_measurement))
    result = verified_evidence(bundle.case)
    assert result is not None
    assert "report.signature" in [step.id for step in result.failed]
    replayed = replay(bundle)
    assert replayed.exit_code == 4
    differences = {check.name: [each.at for each in check.differences] for check in replayed.checks}
    assert "step report.signature" in differences["evidence"]
    assert differences["claims"] == ["claim /x-ms-isolation-tee/x-ms-sevsnpvm-launchmeasurement"]


def test_a_forged_verdict_comes_out_otherwise(captures: Path) -> None:
    case = real_case(captures)
    vcek = bytearray(case.evidence["vcek"])
    vcek[-1] ^= 1
    bad = replace(case, evidence={**case.evidence, "vcek": bytes(vcek)})

    def whitewashed(files: dict[str, bytes]) -> None:
        outcome = json.loads(files["report/evidence.json"])
        assert outcome["verdict"] == "failed"
        outcome["verdict"] = "verified"
        for step in outcome["steps"]:
            step["verdict"] = "ok"
        files["report/evidence.json"] = json.dumps(outcome).encode()

    replayed = replay(open_bundle(refitted(made(bad), whitewashed)))
    (evidence,) = [check for check in replayed.checks if check.name == "evidence"]
    assert evidence.verdict == "differs"
    assert evidence.differences[0].to_json() == {"at": "verdict", "recorded": "verified", "found": "failed"}


def test_roots_of_the_bundles_own_are_never_called_amd(captures: Path) -> None:
    case = real_case(captures)
    pinned = {"Milan": "00" * 32}
    in_azure = open_bundle(made(replace(case, amd_roots=pinned)))
    result = verified_evidence(in_azure.case)
    assert result is not None
    assert (result.verdict, result.root) == ("verified", "AMD")  # what the bundle names counts for nothing
    sandboxed = open_bundle(made(replace(case, world="sandbox", amd_roots=pinned)))
    result = verified_evidence(sandboxed.case)
    assert result is not None
    assert (result.verdict, result.root) == ("failed", "sandbox")


def test_a_bundle_is_the_same_bytes_each_time_and_a_case_comes_back_whole(captures: Path) -> None:
    case = replace(real_case(captures), token=token_case(captures).token, jwks=b'{"keys": []}', claims={})
    case = replace(case, token_header={}, token_verdict={}, error={"error": "ServiceError", "what": "x"})
    case = replace(case, world="sandbox", faults=("key.disabled",))
    chosen = {"with_identifiers": True, "with_token": True}
    assert made(case, **chosen) == made(case, **chosen)
    assert open_bundle(made(case, **chosen)).case == case
    assert made(real_case(captures)) == made(real_case(captures))


def test_a_malformed_policy_is_an_outcome_too(captures: Path) -> None:
    bundle = open_bundle(made(replace(real_case(captures), policy=b'{"version": "1.0.0"}')))
    failed = bundle.recorded["decision"]["failed"]
    assert isinstance(failed, dict)
    assert failed["error"] == "PolicyError"
    assert {check.name: check.verdict for check in replay(bundle).checks}["decision"] == "same"


def test_pcrs_of_another_bank_are_said_and_not_taken_for_these(captures: Path) -> None:
    sha1 = json.dumps({str(at): "00" * 20 for at in range(8)}).encode()
    case = real_case(captures)
    case = replace(case, evidence={**case.evidence, "pcrs": sha1})
    bundle = open_bundle(made(case))
    failed = bundle.recorded["claims"]["failed"]
    assert isinstance(failed, dict)
    assert (failed["error"], failed["found"]) == ("ParseError", "sha1")
    result = verified_evidence(bundle.case)
    assert result is not None
    assert result.verdict != "verified"


def test_an_empty_case_is_a_bundle() -> None:
    bundle = open_bundle(make_bundle(Case(), now=NOW, skrkit="0.1.0"))
    assert bundle.manifest.captured_at == NOW
    assert bundle.case == Case(at=NOW)
    assert replay(bundle).checks == ()


def test_a_secret_where_redaction_does_not_look_stops_the_bundle(captures: Path) -> None:
    token = token_case(captures).token.decode()
    with pytest.raises(VerificationError) as refused:
        made(replace(real_case(captures), machine={token: "a member's name"}))
    assert (refused.value.step, refused.value.where) == ("bundle.secrets", "case/machine.json")
    assert token not in str(refused.value)


def test_redaction_does_not_change_what_the_explanation_says_first(captures: Path) -> None:
    case = real_case(captures)
    whole = open_bundle(made(case, with_identifiers=True)).recorded["explanation"]["findings"]
    bundle = open_bundle(made(case))
    seen = bundle.recorded["explanation"]["findings"]
    assert isinstance(whole, list)
    assert isinstance(seen, list)
    causes = [finding["cause"] for finding in seen if isinstance(finding, dict)]
    assert causes == [finding["cause"] for finding in whole if isinstance(finding, dict)]
    assert causes
    assert bundle.manifest.notes == ()


def test_a_change_by_redaction_would_be_noted(captures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from skrkit.diagnosis import explain as explaining
    from skrkit.diagnosis.catalogue import cause_named
    from skrkit.diagnosis.finding import Explanation, Finding

    def told_apart_by_name(case: Case) -> Explanation:
        cause = cause_named("key.disabled" if case.asked["vault"] == "contosokv" else "key.not-found")
        finding = Finding(cause=cause, certainty="proved", where="", expected="", found="")
        return Explanation(refusal="", findings=(finding,))

    monkeypatch.setattr(explaining, "explain", told_apart_by_name)
    (note,) = open_bundle(made(real_case(captures))).manifest.notes
    assert note == (
        "What was left out or replaced changes the explanation: "
        "of the whole case it was key.disabled, here it is key.not-found."
    )


def files_of(captures: Path) -> dict[str, bytes]:
    return unpack(made(real_case(captures)))


def _edit(files: dict[str, bytes], /, **members: Any) -> None:
    files[NAME] = json.dumps({**json.loads(files[NAME]), **members}).encode()


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (lambda files: files.pop("evidence/quote.bin"), VerificationError, "bundle.missing"),
        (lambda files: files.update({"evidence/more.bin": b"x"}), VerificationError, "bundle.extra"),
        (lambda files: files.update({"case/policy.json": b"{}"}), VerificationError, "bundle.size"),
        (lambda files: files.update({"evidence/quote.bin": bytes(161)}), VerificationError, "bundle.sha256"),
        (lambda files: files.pop(NAME), ParseError, "no such file"),
        (lambda files: _edit(files, version=VERSION + 1), ParseError, "Update skrkit"),
        (lambda files: _edit(files, format="zip"), ParseError, "'zip'"),
        (lambda files: _edit(files, more=1), ParseError, "/more"),
        (lambda files: _edit(files, captured_at="yesterday"), ParseError, "'yesterday'"),
        (lambda files: _edit(files, captured_at="2026-11-24T00:00:00"), ParseError, "/captured_at"),
        (lambda files: _edit(files, captured_at="2020-01-01T00:00:00+00:00"), VerificationError, "bundle.time"),
        (lambda files: _edit(files, files={}), ParseError, "/files"),
        (lambda files: _edit(files, files=[{"name": 1}]), ParseError, "/files/0"),
        (lambda files: files.update({NAME: b"\xff"}), ParseError, NAME),
        (lambda files: files.update({NAME: b"[" * 100_000}), ParseError, NAME),
    ],
)
def test_every_kind_of_damage_has_its_name(
    captures: Path, change: Callable[[dict[str, bytes]], object], kind: type[SkrkitError], said: str
) -> None:
    files = files_of(captures)
    change(files)
    with pytest.raises(kind) as refused:
        open_bundle(pack(files))
    assert said in json.dumps(refused.value.to_json())


@pytest.fixture(scope="module")
def honest(captures: Path) -> bytes:
    return made(real_case(captures))


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_what_a_forger_writes_raises_named_errors_only(honest: bytes, data: st.DataObject) -> None:
    """JSON of any shape in any file of the case or of the report: opening and replaying it are safe."""
    name = data.draw(st.sampled_from(["case/about.json", "case/exchanges.json", "case/token.json", "case/policy.json",
                                      "case/vm.json", "report/evidence.json", "report/claims.json",
                                      "report/decision.json", "evidence/pcrs.json"]))  # fmt: skip
    scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
    values = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["at", "error", "asked", "claims", "header", "url", "status", "steps", "children",
                             "version", "anyOf", "allOf", "claim", "equals", "properties", "name"]), inner, max_size=4),
        max_leaves=12,
    )  # fmt: skip
    content = json.dumps(data.draw(values)).encode()
    bundle_bytes = refitted(honest, lambda files: files.update({name: content}))
    with suppress(SkrkitError):
        replay(open_bundle(bundle_bytes)).fields()


def test_replay_needs_no_network_and_no_azure_sdk(honest: bytes, tmp_path: Path) -> None:
    import subprocess
    import sys

    path = tmp_path / "b.zip"
    path.write_bytes(honest)
    program = (
        "import socket, sys\n"
        "def refused(*_arguments, **_options): raise AssertionError('a socket was opened')\n"
        "socket.socket = refused\n"
        "from skrkit.cli.main import main\n"
        f"codes = [main(['bundle', action, {str(path)!r}, '--json']) for action in ('show', 'verify', 'replay')]\n"
        "assert codes == [0, 0, 0], codes\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] in ('azure', 'requests', 'msal')]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)
