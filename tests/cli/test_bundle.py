"""`skrkit bundle` from outside: files, exit codes, one JSON document, the words for a person."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skrkit.bundle.archive import pack, unpack
from skrkit.bundle.making import make_bundle
from skrkit.cli.main import main
from skrkit.cloud import Cloud
from skrkit.diagnosis.case_json import case_to_json
from skrkit.sandbox import process
from skrkit.sandbox.faults.client import switch_all_off, switch_on
from skrkit.walkthrough import Walk
from tests.bundle.test_bundle import NOW, real_case
from tests.sandbox.running import STAGE


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("bundle-cli")
    try:
        Walk(cloud=Cloud.sandbox(home=folder), stage=STAGE, steps=(1, 2, 3)).run()
        yield folder
    finally:
        process.reset(folder)


@pytest.fixture
def sandboxed(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SKRKIT_HOME", str(home))
    yield home
    switch_all_off(home=home)


@pytest.fixture
def real(captures: Path, tmp_path: Path) -> Path:
    """A bundle of a real machine's evidence."""
    path = tmp_path / "real.zip"
    path.write_bytes(make_bundle(real_case(captures), now=NOW, skrkit="0.1.0"))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["bundle", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def document(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code, out, _ = run(capsys, *arguments, "--json")
    made: dict[str, Any] = json.loads(out)
    return code, made


def test_a_live_bundle_from_beginning_to_end(
    sandboxed: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "b.zip"
    code, out, err = run(capsys, "create", "-o", path)
    assert code == 0
    assert str(path) in out
    assert "vmUniqueId" in out  # what the raw evidence gives away is said when it is made
    assert "Gathering the case" in err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    code, shown = document(capsys, "show", path)
    assert (code, shown["manifest"]["world"]) == (0, "sandbox")
    assert len(shown["doctor"]["checks"]) > 20
    assert shown["versions"]["cryptography"]
    code, verified = document(capsys, "verify", path)
    assert (code, verified["intact"], verified["evidence"]["verdict"]) == (0, True, "verified")
    assert verified["evidence"]["root"] == "sandbox"
    code, replayed = document(capsys, "replay", path)
    assert code == 0
    assert {check["check"]: check["verdict"] for check in replayed["checks"]}["evidence"] == "same"
    assert [item.name for item in tmp_path.iterdir()] == ["b.zip"]  # nothing was unpacked, nothing left behind


def test_a_refused_release_is_a_bundle_that_says_why(
    sandboxed: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    switch_on("key.disabled", home=sandboxed)
    path = tmp_path / "b.zip"
    assert run(capsys, "create", "-o", path)[0] == 0
    switch_all_off(home=sandboxed)
    code, replayed = document(capsys, "replay", path)
    assert code == 0
    outcome = next(check["outcome"] for check in replayed["checks"] if check["check"] == "explanation")
    assert outcome["findings"][0]["cause"] == "key.disabled"
    code, out, _ = run(capsys, "show", path)
    assert code == 0
    assert "key.disabled" in out


def test_a_bundle_without_a_release(sandboxed: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, made = document(capsys, "create", "-o", tmp_path / "b.zip", "--no-release")
    assert code == 0
    assert made["recorded"]["evidence"]["verdict"] == "verified"
    rows = json.loads(unpack((tmp_path / "b.zip").read_bytes())["case/exchanges.json"])
    assert not any(row["url"].partition("?")[0].endswith("/release") for row in rows)


def test_of_a_saved_case(captures: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    saved = tmp_path / "case.json"
    saved.write_text(json.dumps(case_to_json(real_case(captures))))
    code, made = document(capsys, "create", "--from-case", saved, "-o", tmp_path / "b.zip")
    assert (code, made["recorded"]["evidence"]["verdict"]) == (0, "verified")
    assert document(capsys, "verify", tmp_path / "b.zip")[0] == 0
    assert run(capsys, "create", "--from-case", tmp_path / "none")[0] == 2
    saved.write_text("{}")
    assert run(capsys, "create", "--from-case", saved)[0] == 3


def test_options_of_what_goes_in(captures: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    saved = tmp_path / "case.json"
    saved.write_text(json.dumps(case_to_json(real_case(captures))))
    create = ("create", "--from-case", saved, "-o")
    assert document(capsys, *create, tmp_path / "a.zip", "--without-evidence")[1]["manifest"]["carried"] == []
    assert document(capsys, *create, tmp_path / "b.zip", "--with-identifiers")[0] == 0
    assert b"contosokv" in (tmp_path / "b.zip").read_bytes()
    code, verified = document(capsys, "verify", tmp_path / "a.zip")
    assert (code, verified["evidence"]) == (4, None)
    assert document(capsys, "verify", tmp_path / "a.zip", "--partial")[0] == 0
    assert "there is no HCL report" in run(capsys, "verify", tmp_path / "a.zip")[1]


def test_a_file_that_is_there_is_not_overwritten(
    captures: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    saved = tmp_path / "case.json"
    saved.write_text(json.dumps(case_to_json(real_case(captures))))
    code, _, err = run(capsys, "create", "--from-case", saved, "-o", saved)
    assert code == 2
    assert "a file of that name" in err
    assert json.loads(saved.read_text())["skrkit_case"] == 1
    assert run(capsys, "create", "--from-case", saved, "-o", tmp_path / "no" / "b.zip")[0] == 2


def test_the_default_name_says_when(
    captures: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = tmp_path / "case.json"
    saved.write_text(json.dumps(case_to_json(real_case(captures))))
    monkeypatch.chdir(tmp_path)
    code, made = document(capsys, "create", "--from-case", saved)
    assert code == 0
    assert made["bundle"].startswith("skrkit-bundle-")
    assert os.path.isfile(tmp_path / made["bundle"])


def test_words_for_a_person(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "show", real)
    assert code == 0
    for words in ("Nobody signs a manifest", "vmUniqueId", "evidence/hcl-report.bin", "pseudonyms"):
        assert words in " ".join(out.split())
    code, out, _ = run(capsys, "verify", real)
    assert code == 0
    assert "INTACT" in out
    assert "root: AMD" in out
    code, out, _ = run(capsys, "replay", real)
    assert code == 0
    assert "Replay of an evidence bundle: as recorded" in out


def test_exit_codes_of_what_is_wrong(real: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = real.read_bytes()
    files = unpack(data)
    bad = tmp_path / "bad.zip"
    for content, code in (
        (b"hello", 3),
        (data[:-10], 3),
        (pack({**files, "evidence/quote.bin": bytes(161)}), 4),
        (pack({**files, "evidence/extra.bin": b""}), 4),
    ):
        bad.write_bytes(content)
        for action in ("show", "verify", "replay"):
            found, out, err = run(capsys, action, bad)
            assert (found, out) == (code, "")
            assert "fix: " in err
            assert document(capsys, action, bad)[1]["fix"]
    assert run(capsys, "show", tmp_path / "none.zip")[0] == 2
    assert run(capsys, "unpack", real)[0] == 2
    assert run(capsys)[0] == 2


def test_a_replay_that_comes_out_otherwise(real: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from tests.bundle.test_bundle import refitted

    def softened(files: dict[str, bytes]) -> None:
        files["case/policy.json"] = files["case/policy.json"].replace(b'"sevsnpvm"', b'"sgx"')

    path = tmp_path / "forged.zip"
    path.write_bytes(refitted(real.read_bytes(), softened))
    code, out, _ = run(capsys, "replay", path)
    assert code == 4
    words = " ".join(out.split())
    assert "something differs from what was recorded" in words
    assert "clause /anyOf recorded true, now false" in words
