"""`skrkit inspect`: one document with --json, a readable page without, and each wrong input in words."""

from __future__ import annotations

import base64
import io
import json
import os
import sys
from pathlib import Path

import pytest

from skrkit.cli import reading
from skrkit.cli.main import main


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    stream = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
    return stream


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["inspect", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_json_of_an_hcl_report_says_what_the_capture_says(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = captures / "azure-snp-milan-v3"
    document = json.loads(printed(capsys, "--json", str(folder / "hcl-report.bin")))
    expected = json.loads((folder / "expected.json").read_bytes())
    assert set(document) == {"kind", "fields", "nested"}
    assert document["kind"] == "hcl-report"
    assert document["fields"]["header"] == expected["hcl"]["header"]
    assert document["fields"]["runtime_claims"] == expected["hcl"]["runtime_claims"]
    report = document["nested"]["/hardware_report"]
    assert report["kind"] == "snp-report"
    for name in ("version", "policy", "reported_tcb", "report_data", "measurement", "chip_id"):
        assert report["fields"][name] == expected["report"][name]


def test_encodings_and_spans_are_there_only_when_there_are_any(
    captures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = str(captures / "snp-milan-v2-baremetal/report.hex")
    assert set(json.loads(printed(capsys, "--json", name))) == {"kind", "fields", "encodings"}
    document = json.loads(printed(capsys, "--json", "--hex", name))
    assert document["encodings"] == ["hex"]
    assert document["spans"][0] | {"meaning": "", "source": ""} == {
        "offset": 0,
        "size": 4,
        "name": "version",
        "value": 2,
        "meaning": "",
        "source": "",
    }


def test_a_page_fits_eighty_columns_and_carries_no_code(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in sorted(captures.rglob("*")):
        if path.suffix in {".bin", ".der", ".pem", ".jwt", ".hex"} and path.name not in {
            "quote-sig.bin",
            "pcrs.bin",
            "nonce.hex",
        }:
            page = printed(capsys, "--hex", str(path))
            assert all(len(line) <= 80 for line in page.splitlines()), path
            assert all(line.isprintable() for line in page.splitlines()), path


def test_a_page_names_kind_size_digest_and_encoding(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = printed(capsys, str(captures / "snp-milan-v2-baremetal/report.hex"))
    assert page.splitlines()[2] == "snp-report · 1184 bytes · SHA-256 120d77b213c8868d · from hex"
    page = printed(capsys, str(captures / "azure-snp-milan-v3/hcl-report.bin"))
    # The digest of the file itself, as its README has it.
    assert page.splitlines()[2] == "hcl-report · 2600 bytes · SHA-256 12afe089032a091e"
    assert "Inside, at /hardware_report:" in page
    assert "report_size         2346" in page


def test_hex_shows_every_byte(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = captures / "azure-snp-milan-v3/quote-msg.bin"
    lines = printed(capsys, "--hex", str(path)).partition("\nBytes\n")[2].splitlines()
    assert bytes.fromhex("".join(line[8:31] for line in lines)) == path.read_bytes()


def test_standard_input(captures: Path, stdin: io.BytesIO, capsys: pytest.CaptureFixture[str]) -> None:
    stdin.write(base64.b64encode((captures / "azure-snp-milan-v3/quote-msg.bin").read_bytes()))
    stdin.seek(0)
    assert json.loads(printed(capsys, "--json", "-"))["encodings"] == ["base64"]


def test_standard_input_that_is_closed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert "found: it is closed\n" in refusal(capsys, "-")


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    assert main(["inspect", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = str(tmp_path / "nowhere.bin")
    words = refusal(capsys, name)
    assert words.startswith(f"error: file at {name!r}\n")
    assert "  found: no such file\n" in words


def test_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "found: a folder\n" in refusal(capsys, str(tmp_path))


def test_a_file_without_permission(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "closed.bin"
    path.write_bytes(b"x")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file: permissions mean nothing here")
    assert "found: no permission to read it\n" in refusal(capsys, str(path))


def test_permission_is_worded(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    assert "found: no permission to read it\n" in refusal(capsys, "x")


def test_an_empty_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.bin"
    path.touch()
    assert "found: none: it is empty\n" in refusal(capsys, str(path), code=3)


def test_a_name_that_no_file_can_have(capsys: pytest.CaptureFixture[str]) -> None:
    assert "found: a name no file can have\n" in refusal(capsys, "a\0b")


def test_a_file_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(reading, "MAX_INPUT_BYTES", 10)
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(11))
    assert "expected: at most 10 bytes\n  found: more\n" in refusal(capsys, str(path))


def test_an_unknown_kind_is_said_before_anything_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    words = refusal(capsys, "--as", "report", "/nowhere")
    assert "expected: one of hcl-report, snp-report" in words
    assert "found: 'report'" in words


def test_a_forced_kind(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = str(captures / "azure-snp-milan-v3/hcl-report.bin")
    assert json.loads(printed(capsys, "--as", "hcl-report", "--json", name))["kind"] == "hcl-report"
    assert "SNP" in refusal(capsys, "--as", "snp-report", name, code=3)


def test_a_signature_without_structure_says_what_was_tried(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = refusal(capsys, str(captures / "azure-snp-milan-v3/quote-sig.bin"), code=3)
    assert "256 bytes" in words
    assert "tried the marks of every binary kind" in words
    assert "--as hcl-report|snp-report" in words


def test_an_error_with_json_is_a_document(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--json", str(captures / "azure-snp-milan-v3/quote-sig.bin")]) == 3
    document = json.loads(capsys.readouterr().out)
    assert (document["error"], document["what"]) == ("ParseError", "kind of artefact")
    assert sorted(document) == ["error", "expected", "fix", "found", "what", "where"]
