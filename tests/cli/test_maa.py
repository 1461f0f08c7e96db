"""`skrkit maa`: each action on real bytes, its exit code, its JSON, and what it says aloud."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skrkit.cli.main import main
from skrkit.sandbox.endpoint import Endpoint
from tests.sandbox.running import skrkit, staged

SNP = "version= 1.0;authorizationrules{=> permit();};"
SNP_HASH = "9NY0VnTQ-IiBriBplVUpFbczcDaEBUwsiFYAzHu_gco"  # of captured tokens


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return tmp_path / "policy.txt"


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main(["maa", *arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_lint_names_the_hash_that_tokens_will_show(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy.write_text(SNP)
    found = run(capsys, "lint", str(policy))
    assert (found["errors"], found["x-ms-policy-hash"]) == (False, SNP_HASH)
    assert [remark["id"] for remark in found["remarks"]] == ["authorization.permits-all"]
    assert main(["maa", "lint", str(policy)]) == 0
    assert SNP_HASH in capsys.readouterr().out


def test_lint_of_what_does_not_parse_is_5(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy.write_text("version=1.0\n[")
    found = run(capsys, "lint", str(policy), code=5)
    assert [(remark["where"], remark["severity"]) for remark in found["remarks"]] == [("line 2, column 1", "error")]


def test_a_policy_is_tried_on_a_real_token(policy: Path, captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = str(captures / "maa-token-and-akv-release" / "maa-token.jwt")
    query = 'JsonToClaimValue(JmesPath(t.value, "\\"x-ms-compliance-status\\""))'
    rules = f't:[type=="x-ms-isolation-tee"] => issue(type="status", value={query});'
    permits = '[type=="secureboot", value==true] => permit();'
    policy.write_text(f"version= 1.2; authorizationrules {{ {permits} }}; issuancerules {{ {rules} }};")
    found = run(capsys, "eval", str(policy), token)
    assert found["permitted"] is True
    assert found["issued"] == [{"type": "status", "value": "azure-compliant-cvm", "issuer": "AttestationPolicy"}]
    policy.write_text('version= 1.0; authorizationrules { [type=="secureboot", value==true] => deny(); => permit(); };')
    found = run(capsys, "eval", str(policy), token, code=5)
    assert [rule["line"] for rule in found["denied_by"]] == [1]
    assert main(["maa", "eval", str(policy), token]) == 5
    assert "does not permit: 400 PolicyEvaluationError" in capsys.readouterr().out


def test_encode_wraps_once_and_refuses_what_a_provider_would(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy.write_text(SNP)
    assert main(["maa", "encode", str(policy)]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("eyJhbGciOiJub25lIn0.")
    assert SNP_HASH in shown.err
    policy.write_text("version=1.0")
    assert main(["maa", "encode", str(policy)]) == 5
    assert "line 1, column 12" in capsys.readouterr().err


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with staged(tmp_path_factory.mktemp("maa")) as endpoint:
        yield endpoint


def test_show_reads_a_providers_policy(sandbox: Endpoint) -> None:
    done = skrkit(sandbox.home, "maa", "show", "https://sharedweu.weu.attest.azure.net", "--type", "SevSnpVm")
    assert (done.returncode, done.stdout) == (0, f"{SNP}\n"), done.stderr
    assert SNP_HASH in done.stderr
    done = skrkit(sandbox.home, "maa", "show", "https://sharedweu.weu.attest.azure.net", "--type", "Tpm", "--json")
    assert json.loads(done.stdout)["policy"] == ""
    done = skrkit(sandbox.home, "maa", "show", "https://nobody.weu.attest.azure.net")
    assert done.returncode == 7
    assert "There is no attestation provider at 'nobody.weu.attest.azure.net'" in done.stderr
