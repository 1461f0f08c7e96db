"""`skrkit walkthrough --hsm` as a user runs it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skrkit.cli.main import main
from skrkit.release import flow
from skrkit.release.unwrap import ReleasedKey, unwrap
from skrkit.sandbox import process


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder whose sandbox ends with these tests."""
    folder = tmp_path_factory.mktemp("walkthrough-hsm")
    try:
        yield folder
    finally:
        process.reset(folder)


@pytest.fixture(scope="module")
def walked(home: Path) -> tuple[Any, list[ReleasedKey], str]:
    """The JSON of one walk, the keys that it released, and all that it printed and saved."""
    keys: list[ReleasedKey] = []

    def unwrapped(*arguments: Any, **options: Any) -> ReleasedKey:
        keys.append(unwrap(*arguments, **options))
        return keys[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKRKIT_HOME", str(home))
        patch.setattr(flow, "unwrap", unwrapped)
        import contextlib
        import io

        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            assert main(["walkthrough", "--hsm", "--json", "--save", str(home / "out")]) == 0
    saved = "".join(path.read_bytes().decode("latin-1") for path in (home / "out").iterdir())
    return json.loads(out.getvalue()), keys, out.getvalue() + err.getvalue() + saved


def test_the_walk_shows_the_hsms_own_artefacts(walked: tuple[Any, list[ReleasedKey], str]) -> None:
    artefacts = {made["name"]: made for made in walked[0]["artefacts"]}
    assert artefacts["hsm"]["body"]["type"] == "Microsoft.KeyVault/managedHSMs"
    assert [each["scope"] for each in artefacts["role-assignments"]["body"]["assignments"]] == [
        f"/keys/release-me{end}" for end in ("", "-ec", "-platform", "-oct")
    ]
    assert artefacts["preflight"]["body"]["may_release"] is True
    assert artefacts["preflight"]["body"]["beyond_release"] == []
    assert artefacts["access-token"]["body"]["claims"]["aud"] == "https://managedhsm.azure.net"
    assert artefacts["key-bundle"]["body"]["kid"].startswith("https://skrkit-hsm.managedhsm.azure.net/keys/release-me/")
    assert "vault-before" not in artefacts


def test_a_symmetric_key_comes_as_its_bytes_and_opens_what_the_hsm_sealed(
    walked: tuple[Any, list[ReleasedKey], str],
) -> None:
    said = next(made for made in walked[0]["artefacts"] if made["name"] == "oct-released")["body"]
    assert said["proof"] == "A256GCM: HSM's key encrypts, released key decrypts"
    assert [key.kty for key in walked[1]].count("oct") == 1
    assert {key.kty for key in walked[1]} == {"RSA", "EC", "oct"}


def test_no_released_key_is_printed_or_saved(walked: tuple[Any, list[ReleasedKey], str]) -> None:
    _, keys, text = walked
    plain = "".join(text.split())
    for key in keys:
        for form in (key.material.hex(), base64.b64encode(key.material).decode().rstrip("=")):
            assert form not in plain
            assert base64.urlsafe_b64encode(key.material).decode().rstrip("=") not in plain


def test_azure_wants_a_name_for_the_hsm(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("--resource-group", "g", "--vm", "m", "--key", "k", "--subscription", "s")
    named = (*names, "--attestation", "https://sharedweu.weu.attest.azure.net")
    assert main(["walkthrough", "--cloud", "azure", *named, "--hsm"]) == 2
    assert "no --hsm" in capsys.readouterr().err
    assert main(["walkthrough", "--cloud", "azure", *named, "--hsm", "mine"]) == 0
    plan = capsys.readouterr().out
    assert "Managed HSM mine: assign Managed HSM Crypto Service Release User (a local role)" in plan
    assert "k-oct" in plan
    assert main(["walkthrough", "--hsm", "--rbac"]) == 2
    assert "Leave --rbac out, or --hsm." in capsys.readouterr().err
