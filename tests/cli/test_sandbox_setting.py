"""`skrkit sandbox setting` as a user has it."""

from __future__ import annotations

import json
from pathlib import Path

from skrkit.sandbox import process
from skrkit.sandbox.settings import SETTINGS
from tests.sandbox.running import skrkit

LIMITS = "Each vault takes 10 creates and releases of HSM keys in 10 seconds, or 20 of software keys."


def test_a_list_starts_nothing(tmp_path: Path) -> None:
    done = skrkit(tmp_path, "sandbox", "setting")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"vault-limits (no sandbox runs). While it is on: {LIMITS}"
    assert len(lines) == len(SETTINGS)
    as_json = json.loads(skrkit(tmp_path, "sandbox", "setting", "--json").stdout)["settings"]
    assert [each["name"] for each in as_json] == [each.name for each in SETTINGS]
    assert {each["on"] for each in as_json} == {None}
    assert list(tmp_path.iterdir()) == []


def test_a_setting_stays_until_it_is_switched_again(tmp_path: Path) -> None:
    try:
        done = skrkit(tmp_path, "sandbox", "setting", "vault-limits", "on")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"vault-limits is on. While it is on: {LIMITS}\n"
        process.down(tmp_path)
        skrkit(tmp_path, "sandbox", "up")
        assert "  setting on: vault-limits\n" in skrkit(tmp_path, "sandbox", "status").stdout
        switched = skrkit(tmp_path, "sandbox", "setting", "vault-limits", "off", "--json")
        assert json.loads(switched.stdout) == {"name": "vault-limits", "does": LIMITS, "on": False}
        assert process.status(tmp_path)["settings"] == []
    finally:
        process.reset(tmp_path)


def test_what_cannot_be_switched_is_named(tmp_path: Path) -> None:
    unknown = skrkit(tmp_path, "sandbox", "setting", "vault-limit", "on")
    assert unknown.returncode == 2
    assert "expected: vault-limits or " in unknown.stderr
    assert "fix: skrkit sandbox setting\n" in unknown.stderr
    half = skrkit(tmp_path, "sandbox", "setting", "vault-limits")
    assert half.returncode == 2
    assert "fix: skrkit sandbox setting vault-limits on\n" in half.stderr
    assert list(tmp_path.iterdir()) == []
