"""`skrkit explain` as its users have it: a file in, a cause out, and an exit code that says whether it is one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skrkit.sandbox import process
from skrkit.sandbox.faults import client
from tests.sandbox.running import skrkit

DISABLED = {
    "error": {
        "code": "Forbidden",
        "message": "Operation release is not allowed on a disabled key.",
        "innererror": {"code": "KeyDisabled"},
    }
}
DOES_NOT_MEET = {
    "error": {
        "code": "Forbidden",
        "message": "Target environment attestation does not meet key release policy requirements.",
    }
}
POLICY = {
    "version": "1.0.0",
    "anyOf": [
        {
            "authority": "https://sharedweu.weu.attest.azure.net",
            "allOf": [{"claim": "x-ms-compliance-status", "equals": "azure-compliant-cvm"}],
        }
    ],
}
KEY = {
    "attributes": {"enabled": False, "exportable": True},
    "key": {"kid": "https://v.vault.azure.net/keys/k/1", "keyOps": []},
}


@pytest.fixture
def refusal(tmp_path: Path) -> Path:
    file = tmp_path / "refusal.json"
    file.write_text(json.dumps(DISABLED), encoding="utf-8")
    return file


def test_a_refusal_is_explained(tmp_path: Path, refusal: Path) -> None:
    done = skrkit(tmp_path, "explain", str(refusal))
    assert done.returncode == 0
    assert "Why the release failed: The key is disabled" in done.stdout
    assert "az keyvault key set-attributes" in done.stdout
    assert done.stderr == ""


def test_json_is_one_document(tmp_path: Path, refusal: Path) -> None:
    done = skrkit(tmp_path, "explain", "--json", "-", stdin=refusal.read_text(encoding="utf-8"))
    document = json.loads(done.stdout)
    assert document["refusal"] == "HTTP 403 Forbidden/KeyDisabled: Operation release is not allowed on a disabled key."
    assert document["findings"][0]["cause"] == "key.disabled"
    assert document["findings"][0]["certainty"] == "likely"
    assert document["unknown"]


def test_parts_that_are_given_with_it_prove_it(tmp_path: Path, refusal: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text(json.dumps(KEY), encoding="utf-8")
    done = skrkit(tmp_path, "explain", "--json", str(refusal), "--key", str(key))
    assert json.loads(done.stdout)["findings"][0]["certainty"] == "proved"


def test_a_real_token_and_a_published_policy(tmp_path: Path, captures: Path) -> None:
    """The policy that Azure's command line makes by default, against a guest's token: the commonest mistake of all."""
    for name, document in (("policy.json", POLICY), ("response.json", DOES_NOT_MEET)):
        (tmp_path / name).write_text(json.dumps(document), encoding="utf-8")
    folder = captures / "maa-token-and-akv-release"
    parts = (
        "--response",
        f"{tmp_path}/response.json",
        "--token",
        f"{folder}/maa-token.jwt",
        "--policy",
        f"{tmp_path}/policy.json",
    )
    done = skrkit(tmp_path, "explain", *parts, "--at", "2022-12-24")
    assert done.returncode == 0
    assert "policy.missing-prefix · proved" in done.stdout
    assert "x-ms-isolation-tee.x-ms-compliance-status" in done.stdout
    assert "safe" in done.stdout


def test_what_is_not_explained_is_code_6(tmp_path: Path) -> None:
    done = skrkit(tmp_path, "explain", "-", stdin=json.dumps(DOES_NOT_MEET))
    assert done.returncode == 6
    assert "one of several, not known which" in done.stdout
    assert "(--token)" in done.stdout
    done = skrkit(tmp_path, "explain", "-", stdin='{"error": {"code": "Teapot", "message": "short"}}')
    assert done.returncode == 6
    assert "not known" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [((), 2), (("--response", "nowhere.json"), 2), (("key.disable",), 2), (("-", "--token", "-"), 2), (("-",), 3)],
)
def test_what_is_no_case_is_refused(tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    done = skrkit(tmp_path, "explain", *arguments, stdin="")
    assert done.returncode == code
    assert done.stderr.startswith("error: ")


def test_the_catalogue(tmp_path: Path) -> None:
    listed = skrkit(tmp_path, "explain", "--list")
    assert listed.returncode == 0
    assert "access.rbac-mode" in listed.stdout
    causes = json.loads(skrkit(tmp_path, "explain", "--list", "--json").stdout)["causes"]
    assert len(causes) > 150
    one = skrkit(tmp_path, "explain", "access.rbac-mode")
    assert one.returncode == 0
    assert "enableRbacAuthorization" in one.stdout
    assert json.loads(skrkit(tmp_path, "explain", "access.rbac-mode", "--json").stdout)["leg"] == "access"


def test_the_fast_path_loads_no_azure(refusal: Path) -> None:
    code = (
        "import sys; from skrkit.cli.main import main; main(['explain', sys.argv[1]]); "
        "sys.exit(any(name.split('.')[0] in ('azure', 'msal', 'rich', 'requests') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(refusal)], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made: Path = tmp_path_factory.mktemp("explain")
    assert skrkit(made, "walkthrough", "--json").returncode == 0
    yield made
    process.reset(made)


def test_live_it_names_the_fault_and_its_case_explains_it_again(home: Path, tmp_path: Path) -> None:
    assert skrkit(home, "explain", "--live").returncode == 0
    client.switch_on("policy.letter-case", home=home)
    try:
        case = tmp_path / "case.json"
        done = skrkit(home, "explain", "--live", "--json", "--save", str(case))
        assert done.returncode == 0
        live = json.loads(done.stdout)
        assert live["findings"][0]["cause"] == "policy.letter-case"
        assert live["findings"][0]["certainty"] == "proved"
        assert live["repairs"][0]["safe"] is True
        assert case.stat().st_mode & 0o077 == 0
        assert json.loads(skrkit(home, "explain", "--json", str(case)).stdout) == live
        text = case.read_text(encoding="utf-8")
        assert "token" not in json.loads(text)
        assert re.search(r"eyJ[\w-]+\.eyJ[\w-]+\.", text) is None  # no signed token
    finally:
        client.switch_off("policy.letter-case", home=home)


def test_a_walk_that_fails_says_what_explains_it(home: Path, tmp_path: Path) -> None:
    client.switch_on("access.firewall-address", home=home)
    try:
        saved = tmp_path / "saved"
        done = skrkit(home, "walkthrough", "--step", "4", "--save", str(saved))
        assert done.returncode in (6, 7)
        assert f"skrkit explain {saved / 'error.json'}" in done.stderr
        explained = skrkit(home, "explain", "--json", str(saved / "error.json"))
        assert json.loads(explained.stdout)["findings"][0]["cause"] == "access.firewall-address"
    finally:
        client.switch_off("access.firewall-address", home=home)
