"""`skrkit policy`: each action on real bytes, its exit code, its JSON, and what it says aloud."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from skrkit.cli.main import main
from skrkit.cli.policy_input import NOT_VERIFIED
from skrkit.policy.parse import encode_policy, parse_policy
from skrkit.policy.templates import cvm_policy
from skrkit.release.response import parse_release_response
from tests.policy.test_vectors import MHSM_FORM

WEU = "https://sharedweu.weu.attest.azure.net"
GUEST = cvm_policy(WEU)
PLATFORM = cvm_policy(WEU, guest=False)
THEN = ("--issuer", WEU, "--at", "2022-12-24")


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def folder(captures: Path) -> Path:
    return captures / "maa-token-and-akv-release"


@pytest.fixture
def guest(tmp_path: Path) -> str:
    return write(tmp_path / "guest.json", json.dumps(GUEST.fields(), indent=2))


@pytest.fixture
def platform(tmp_path: Path) -> str:
    return write(tmp_path / "platform.json", PLATFORM.raw.decode())


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def run(*arguments: str, code: int = 0) -> Any:
    assert main(["policy", *arguments]) == code


def document(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    run(*arguments, "--json", code=code)
    return json.loads(capsys.readouterr().out)


def test_the_policy_of_a_recorded_release_has_no_errors(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    response = parse_release_response((folder / "release-response.json").read_bytes())
    bundle = write(tmp_path / "bundle.json", json.dumps({"key": {}, "release_policy": response.release_policy}))
    found = document(capsys, "lint", bundle)
    assert found["errors"] is False
    assert [finding["id"] for finding in found["findings"]] == ["clause.debug-implied", "clause.any-vm"]
    run("lint", bundle)
    page = capsys.readouterr().out
    assert page.startswith("Policy lint: 0 errors, 0 warnings, 2 notes\n")
    assert all(len(line) <= 80 for line in page.splitlines())


def test_lint_says_five_for_errors_and_explains_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = write(tmp_path / "p.json", GUEST.raw.decode().replace("azure.net", "azure.com").replace("sevsnpvm", "SNP"))
    assert document(capsys, "lint", name, code=5)["errors"] is True
    run("lint", name, code=5)
    page = capsys.readouterr().out
    assert "✗ failed       authority.zone\n" in page
    assert f"fix: Write {WEU}\n" in page
    assert "! warning      value.unknown\n" in page


def test_lint_of_what_is_no_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("lint", write(tmp_path / "p", "nothing of the kind"), code=5)
    captured = capsys.readouterr()
    assert "grammar.not-json" in captured.out
    assert captured.err == ""


def test_eval_holds_verified(folder: Path, guest: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("eval", guest, str(folder / "maa-token.jwt"), "--jwks", str(folder / "maa-jwks.json"), *THEN)
    found = document(capsys, *arguments)
    assert (found["holds"], found["verified"]) == (True, True)
    assert found["decision"]["children"][0]["authority"] == WEU
    run(*arguments)
    captured = capsys.readouterr()
    assert captured.out.startswith("Policy decision: yes\n")
    assert captured.err == ""


def test_eval_that_does_not_hold_says_five(folder: Path, platform: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("eval", platform, str(folder / "maa-token.jwt"), code=5)
    captured = capsys.readouterr()
    assert captured.out.startswith("Policy decision: no\n")
    assert captured.err == f"{NOT_VERIFIED}\n"


def test_a_token_that_does_not_verify_is_not_evaluated(
    folder: Path, guest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("eval", guest, str(folder / "maa-token.jwt"), "--jwks", str(folder / "maa-jwks.json"))
    found = document(capsys, *arguments, "--issuer", WEU, code=4)
    assert found["step"] == "token.times"
    found = document(capsys, *arguments, "--issuer", "https://sharedeus.eus.attest.azure.net", code=4)
    assert found["step"] == "token.issuer"


def test_claims_in_json_are_taken_and_said_not_to_be_verified(
    folder: Path, guest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", "--json", str(folder / "maa-token.jwt")]) == 0
    inspected = capsys.readouterr().out
    claims = json.loads(inspected)["fields"]["claims"]
    answer = json.dumps({"token": (folder / "maa-token.jwt").read_text().strip()})
    for text in (inspected, json.dumps(claims), json.dumps({"header": {}, "claims": claims}), answer):
        run("eval", guest, write(tmp_path / "claims.json", text), "--json")
        captured = capsys.readouterr()
        assert json.loads(captured.out)["verified"] is False
        assert captured.err == f"{NOT_VERIFIED}\n"


@pytest.mark.parametrize(
    ("extra", "where"),
    [
        (["--jwks", "KEYS"], "--jwks and --issuer"),
        (["--issuer", WEU], "--jwks and --issuer"),
        (["--at", "2022-12-24"], "--at"),
        (["--jwks", "KEYS", "--issuer", WEU], "--jwks"),
    ],
)
def test_claims_that_cannot_be_verified_are_not_said_to_be(
    folder: Path, guest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str], where: str
) -> None:
    claims = write(tmp_path / "claims.json", json.dumps({"iss": WEU}))
    named = [str(folder / "maa-jwks.json") if word == "KEYS" else word for word in extra]
    found = document(capsys, "eval", guest, claims, *named, code=2)
    assert found["where"] == where


def test_explain_names_the_smallest_change(folder: Path, platform: str, capsys: pytest.CaptureFixture[str]) -> None:
    token = str(folder / "maa-token.jwt")
    found = document(capsys, "explain", platform, token, code=5)
    (repair,) = found["repairs"]
    assert repair["safe"] is True
    assert parse_policy(json.dumps(repair["policy"])) == GUEST
    run("explain", platform, token, code=5)
    page = capsys.readouterr().out
    assert "Smallest changes that would make it hold\n" in page
    assert "safe: 2 edits\n" in page
    assert "after     x-ms-isolation-tee.x-ms-compliance-status\n" in page


def test_explain_of_what_holds(folder: Path, guest: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("explain", guest, str(folder / "maa-token.jwt"))
    page = capsys.readouterr().out
    assert page.startswith("Policy decision: yes\n")
    assert "Smallest changes" not in page


def test_explain_without_a_token_says_what_is_asked(guest: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "explain", guest)
    assert [condition["pointer"] for condition in found["conditions"]] == ["/anyOf/0/allOf/0", "/anyOf/0/allOf/1"]
    assert found["conditions"][1]["lasts"] == "compliance"
    run("explain", guest)
    page = " ".join(capsys.readouterr().out.split())
    assert f"For tokens of {WEU}" in page
    assert "equals azure-compliant-cvm" in page
    assert "paravisor and firmware are a published, healthy Azure version" in page
    assert document(capsys, "explain", guest, "--issuer", WEU, code=2)["found"] == "none"


def test_suggest_at_one_strength_is_ready_for_a_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = str(folder / "maa-token.jwt")
    found = document(capsys, "suggest", token)
    assert [one["name"] for one in found["suggestions"]] == ["any-compliant", "this-software", "this-vm"]
    run("suggest", token, "--strength", "this-vm")
    captured = capsys.readouterr()
    assert captured.err == f"{NOT_VERIFIED}\n"
    assert json.loads(captured.out) == found["suggestions"][2]["policy"]
    name = write(tmp_path / "policy.json", captured.out)
    run("eval", name, token)
    run("lint", name)
    capsys.readouterr()
    run("suggest", token)
    page = capsys.readouterr().out
    assert "Who gets the key: This VM alone" in page
    assert "The new VM has another id" in page


def test_diff_says_who_gains(guest: str, platform: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert document(capsys, "diff", guest, guest) == {"effect": "same", "changes": [], "gained": [], "lost": []}
    assert document(capsys, "diff", guest, platform)["effect"] == "other"
    run("diff", guest, platform)
    page = capsys.readouterr().out
    assert "This token releases now, and did not before\n" in page
    assert "This token released before, and no longer does\n" in page


def test_encode_and_decode_are_each_others_opposite(
    guest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("encode", guest)
    captured = capsys.readouterr()
    assert captured.out == f"{encode_policy(parse_policy(Path(guest).read_bytes()))}\n"
    assert captured.err == ""
    run("decode", write(tmp_path / "data.txt", captured.out))
    captured = capsys.readouterr()
    assert parse_policy(captured.out) == GUEST
    assert captured.err == ""
    assert document(capsys, "encode", guest)["contentType"] == "application/json; charset=utf-8"


def test_decode_of_what_a_managed_hsm_stores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "decode", write(tmp_path / "data.txt", MHSM_FORM))
    assert list(found["policy"]) == ["version", "anyOf"]
    assert found["encodings"] == ["base64url"]
    assert found["findings"] == []


def test_what_a_vault_would_stumble_over_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = write(tmp_path / "data.json", json.dumps({"data": GUEST.raw.decode()}))
    run("decode", name)
    captured = capsys.readouterr()
    assert parse_policy(captured.out) == GUEST
    assert captured.err.startswith("error: text.plain-data: /data is plain JSON.")
    run("encode", name)
    captured = capsys.readouterr()
    assert captured.out.strip() == encode_policy(GUEST)
    assert "It was wrapped already, in /data" in captured.err


def test_encode_counts_what_lint_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("encode", write(tmp_path / "p.json", GUEST.raw.decode().replace("sevsnpvm", "SEVSNPVM")))
    assert capsys.readouterr().err == "skrkit policy lint finds 1 error in it.\n"


def test_templates_are_policies(capsys: pytest.CaptureFixture[str]) -> None:
    for name, expected in (("cvm", GUEST), ("platform", PLATFORM)):
        run("template", name, "--region", "West Europe")
        assert parse_policy(capsys.readouterr().out) == expected
    run("template", "data-disk", "--authority", "https://mine.weu.attest.azure.net/")
    assert "tdxvm" in capsys.readouterr().out
    run("template", "container", "--region", "westeurope", "--host-data", "ab" * 32)
    assert "azure-compliant-uvm" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["template", "cvm", "--region", "westeurop"], "fix: Did you mean westeurope?"),
        (["template", "cvm", "--region", "mars"], "fix: Name the provider with --authority."),
        (["template", "cvm", "--authority", "http://a"], "expected: https:// and a host"),
        (["template", "container", "--region", "westeurope"], "found: none"),
        (["template", "cvm", "--region", "westeurope", "--host-data", "ab"], "found: one for cvm"),
        (["template", "container", "--region", "westeurope", "--host-data", "AB" * 32], "64 hex digits in lower case"),
        (["template", "cvm"], "one of the arguments --region --authority is required"),
        (["diff", "-", "-"], "found: for two"),
        (["lint", "/nowhere/policy.json"], "found: no such file"),
        (["polish", "x"], "invalid choice: 'polish'"),
    ],
)
def test_wrong_arguments_are_said_in_words(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(*arguments, code=2)
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("action", ["eval", "explain"])
def test_a_malformed_policy_is_the_parsers_error(
    action: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = write(tmp_path / "p.json", '{"version": "1.0.0", "anyOf": []}')
    found = document(capsys, action, name, str(folder / "maa-token.jwt"), code=5)
    assert (found["error"], found["where"], found["rule"]) == ("PolicyError", "/anyOf", "list-empty")


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GUEST.raw)))
    run("encode", "-")
    assert capsys.readouterr().out.strip() == encode_policy(GUEST)


def test_text_from_a_policy_reaches_no_terminal_raw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wild = json.dumps({"claim": "a\u202eb\x1b[31m", "equals": "\x1b]0;x\x07"})
    text = json.dumps({"version": "1.0.0", "anyOf": [{"authority": "https://a\x1b[2J", "allOf": [json.loads(wild)]}]})
    name = write(tmp_path / "p.json", text)
    run("lint", name, code=5)
    run("explain", name)
    run("diff", name, name)
    captured = capsys.readouterr()
    for line in (captured.out + captured.err).splitlines():
        assert line.isprintable(), line


def test_no_azure_module_and_no_rich_is_loaded(guest: str) -> None:
    import subprocess

    script = (
        "import sys; from skrkit.cli.main import main; code = main(['policy', 'lint', sys.argv[1]]); "
        "print(code, [name for name in sys.modules if name.split('.')[0] in ('azure', 'rich', 'cryptography', 'jwt')])"
    )
    done = subprocess.run([sys.executable, "-c", script, guest], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
