"""`skrkit verify` from outside: exit codes, one JSON document, the words for a person."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from skrkit.cli.main import main
from skrkit.endorsements.certificate import split_certificates

AZURE = "azure-snp-milan-v3"
NONCE = "982f5c6e45df0ed3f10b6f60b02f0c8390e281300f3805e2279c16168cd6ae9aa398f647caa2338748cd0fd9f5f819ef"


def verify(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code = main(["verify", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    document: dict[str, Any] = json.loads(captured.out)
    return code, document


def words(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = main(["verify", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def azure(captures: Path) -> list[object]:
    folder = captures / AZURE
    return [
        folder / "hcl-report.bin", "--vcek", folder / "vcek.der", "--chain", captures / "amd-roots" / "milan.pem",
        "--quote", folder / "quote-msg.bin", "--signature", folder / "quote-sig.bin",
        "--pcrs", folder / "pcrs-sha256.json", "--nonce", NONCE,
    ]  # fmt: skip


def test_everything(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = verify(capsys, *azure(captures))
    assert (code, document["verdict"], document["root"]) == (0, "verified", "AMD")
    assert {step["verdict"] for step in document["steps"]} == {"ok"}
    assert document["report"]["reported_tcb"]["hex"] == "db18000000000004"


@pytest.mark.parametrize(
    ("name", "report", "options", "code", "verdict", "failed"),
    [
        ("aci-snp-milan-v2", "report.bin", ["--chain", "thim.json"], 0, "verified", []),
        ("aci-snp-milan-v2", "report.bin", ["--vcek", "vcek-chain.pem"], 0, "verified", []),
        ("azure-snp-milan-v2", "hcl-report.bin", ["--chain", "vcek-chain.pem"], 0, "verified", []),
        ("azure-snp-hcl-vcek-mismatch", "hcl-report.bin", ["--chain", "vcek-chain.pem"], 4, "failed",
         ["report.signature", "bind.hwID_eq_chip_id"]),
        ("azure-tdx-hcl", "hcl-report.bin", [], 3, "tdx-report", ["hcl.report_type_snp"]),
        ("snp-genoa-v3-model-a0", "report.bin", ["--vcek", "vcek.der", "--chain", "@genoa"], 0, "verified", []),
        ("snp-genoa-v5", "report.bin", ["--chain", "vcek-chain.pem"], 0, "verified", []),
        ("snp-milan-v2-baremetal", "report.hex", ["--vcek", "vcek.der", "--chain", "@milan"], 0, "verified", []),
        ("snp-milan-v2-debug", "report.bin", ["--vcek", "vcek.der", "--chain", "@milan"], 4, "failed",
         ["report.debug_off"]),
        ("snp-milan-v2-debug", "report.bin", ["--vcek", "vcek.der", "--chain", "@milan", "--allow-debug"], 0,
         "verified", []),
        ("snp-vlek-milan-v3", "report.bin", ["--vcek", "vlek.der", "--chain", "@milan_vlek", "--at", "2025-06-01"], 4,
         "failed", ["report.vmpl_0"]),
        ("snp-vlek-milan-v3", "report.bin",
         ["--vcek", "vlek.der", "--chain", "@milan_vlek", "--at", "2025-06-01T00:00:00Z", "--vmpl", "1"], 0,
         "verified", []),
        ("snp-vlek-milan-v3", "report.bin",
         ["--vcek", "vlek.der", "--chain", "@milan_vlek", "--at", "2026-11-24", "--vmpl", "any"], 4, "failed",
         ["vek.validity"]),
        ("gce-snp-eventlog", "eventlog.bin", [], 3, "wrong-kind", ["report.parse"]),
    ],
)  # fmt: skip
def test_captures(
    captures: Path, capsys: pytest.CaptureFixture[str], name: str, report: str, options: list[str], code: int,
    verdict: str, failed: list[str],
) -> None:  # fmt: skip
    folder = captures / name
    arguments = [
        captures / "amd-roots" / f"{option[1:]}.pem" if option.startswith("@")
        else folder / option if (folder / option).is_file() else option
        for option in options
    ]  # fmt: skip
    found, document = verify(capsys, folder / report, *arguments)
    assert (found, document["verdict"], document["failed"]) == (code, verdict, failed)


def test_missing_certificates(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = captures / AZURE / "hcl-report.bin"
    code, document = verify(capsys, report)
    assert (code, document["verdict"]) == (4, "incomplete")
    assert "chain.root_pinned" in document["not_checked"]
    assert verify(capsys, report, "--partial")[0] == 0
    # --partial forgives what is missing, never what failed
    bad = captures / "snp-milan-v2-debug" / "report.bin"
    assert verify(capsys, bad, "--partial")[0] == 4


def test_forms_of_the_report(captures: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = (captures / AZURE / "hcl-report.bin").read_bytes()
    for name, form in (("hex", data.hex().encode()), ("b64", base64.encodebytes(data)), ("bin", data)):
        path = tmp_path / name
        path.write_bytes(form)
        code, document = verify(capsys, path, *azure(captures)[1:])
        assert (code, document["verdict"]) == (0, "verified"), name


def test_unknown_version_in_hex(captures: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = b"\x06" + (captures / "snp-genoa-v5" / "report.bin").read_bytes()[1:]
    for name, form in (("hex", data.hex().encode()), ("bin", data)):
        path = tmp_path / name
        path.write_bytes(form)
        code, document = verify(capsys, path)
        assert (code, document["verdict"], document["failed"]) == (3, "unknown-version", ["report.version_known"])


def test_chain_in_two_files_and_der(captures: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    paths: list[object] = []
    for index, der in enumerate(split_certificates((captures / "amd-roots" / "milan.pem").read_bytes())):
        path = tmp_path / f"{index}.der"
        path.write_bytes(der)
        paths += ["--chain", path]
    folder = captures / AZURE
    code, document = verify(capsys, folder / "hcl-report.bin", "--vcek", folder / "vcek.der", *paths)
    assert (code, document["verdict"]) == (0, "verified")


def test_tpm2_tools_pcrs_that_do_not_belong(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = azure(captures)
    arguments[arguments.index("--pcrs") + 1] = captures / "azure-trusted-launch-vtpm" / "pcrs.bin"
    code, document = verify(capsys, *arguments)
    assert (code, document["failed"]) == (3, ["quote.pcr_digest"])  # PCR 8 to 23 are not in the file


def test_key_given(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = azure(captures)
    assert verify(capsys, *arguments, "--ak", "hcl")[0] == 0
    code, document = verify(capsys, *arguments, "--ak", captures / "azure-vtpm-quote" / "ak.pem")
    assert code == 4
    assert document["failed"] == ["quote.ak_eq_runtime_claims", "quote.signature_by_ak"]


def test_words_for_a_person(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = words(capsys, *azure(captures))
    assert code == 0
    assert "VERIFIED" in text
    assert "root: AMD" in text
    assert "report.signature" in text
    code, text = words(capsys, captures / "snp-milan-v2-debug" / "report.bin")
    assert code == 4
    assert "FAILED" in text
    assert "fix: Do not trust this guest with secrets" in " ".join(text.split())


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--vmpl", "x"], "'x'"),
        (["--vmpl", "7"], "7"),
        (["--at", "yesterday"], "'yesterday'"),
        (["--nonce", "zz"], "'zz'"),
        (["--min-tcb", "snp"], "'snp'"),
        (["--min-tcb", "snp=1,snp=2"], "'snp=2'"),
        (["--min-tcb", "svn=1"], "svn=1"),
        (["--measurement", "00"], "1 bytes"),
        (["--vcek", "no-such-file"], "no such file"),
    ],
)
def test_usage(captures: Path, capsys: pytest.CaptureFixture[str], options: list[str], found: str) -> None:
    code, text = words(capsys, captures / AZURE / "hcl-report.bin", *options)
    assert code == 2
    assert f"found: {found}" in text


def test_minimum_tcb(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    minimum = "bootloader=4,tee=0,snp=24,microcode="
    assert verify(capsys, *azure(captures), "--min-tcb", f"{minimum}219")[0] == 0
    code, document = verify(capsys, *azure(captures), "--min-tcb", f"{minimum}220")
    assert (code, document["failed"]) == (4, ["appraise.minimum_tcb"])


def test_fetch_that_cannot_reach_amd(
    captures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code, text = words(capsys, captures / AZURE / "hcl-report.bin", "--fetch")
    assert code == 7
    assert "unreachable" in text


def test_fetch_uses_what_is_given_and_cached(
    captures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from skrkit.services import kds

    asked: list[str] = []

    def get(url: str) -> bytes:
        asked.append(url)
        return (captures / "amd-roots" / "milan.pem").read_bytes()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    service = kds.KeyService(get=get)
    monkeypatch.setattr(kds, "KeyService", lambda: service)
    folder = captures / AZURE
    arguments = (folder / "hcl-report.bin", "--vcek", folder / "vcek.der", "--fetch")
    for _ in range(2):
        code, document = verify(capsys, *arguments)
        assert (code, document["verdict"]) == (0, "verified")
    assert asked == ["https://kdsintf.amd.com/vcek/v1/Milan/cert_chain"]


def test_the_verdict_is_the_last_word_too(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sixty steps push the heading off a terminal's screen."""
    _, text = words(capsys, *azure(captures))
    assert text.splitlines()[-1] == text.splitlines()[0] == "VERIFIED: every step of this run holds"
    folder = captures / "azure-snp-hcl-vcek-mismatch"
    _, text = words(capsys, folder / "hcl-report.bin", "--chain", folder / "vcek-chain.pem")
    assert text.splitlines()[-1] == "FAILED: report.signature, bind.hwID_eq_chip_id"
    _, text = words(capsys, captures / "azure-tdx-hcl" / "hcl-report.bin")
    assert text.count("NOT VERIFIED") == 1


def test_a_token_beside_its_evidence(captures: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    report = (captures / AZURE / "hcl-report.bin").read_bytes()
    claims = {
        "x-ms-attestation-type": "sevsnpvm",
        "x-ms-sevsnpvm-vmpl": 0,
        "x-ms-sevsnpvm-guestsvn": 12,  # as the capture's README says
        "x-ms-sevsnpvm-reportid": "ad29db593a7c2498cc5e987f9c9f51947fe01e18af0eb68d9b35076ae5437050",
        "x-ms-compliance-status": "azure-compliant-cvm",
    }
    path = tmp_path / "claims.json"
    path.write_text(json.dumps(claims))
    code, document = verify(capsys, *azure(captures), "--token", path)
    assert (code, document["verdict"]) == (0, "verified")
    assert document["token"]["counts"]["agrees"] == 4
    path.write_text(json.dumps({"claims": {**claims, "x-ms-sevsnpvm-guestsvn": 13}}))
    code, document = verify(capsys, *azure(captures), "--token", path)
    assert (code, document["verdict"], document["token"]["counts"]["differs"]) == (4, "verified", 1)
    code, text = words(capsys, *azure(captures), "--token", path)
    assert code == 4
    assert "evidence 12 (SNP report GUEST_SVN, byte 0x24, 4 bytes), token 13" in " ".join(text.split())
    assert report[0x24] == 12


def test_a_real_token_of_another_machine(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = captures / "maa-token-and-akv-release" / "maa-token.jwt"
    code, text = words(capsys, *azure(captures), "--token", token)
    assert code == 4
    assert "DIFFER: token and evidence are not of one attestation" in " ".join(text.split())
    assert token.read_text().strip() not in text


def test_a_file_that_is_no_token(captures: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "token"
    for content, found in ((b"hello", 3), (b"[]", 3), (b"{", 3)):
        path.write_bytes(content)
        assert words(capsys, *azure(captures), "--token", path)[0] == found
    assert words(capsys, *azure(captures), "--token", tmp_path / "none")[0] == 2
