"""Secrets of applications, as other people's command lines take them."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path

import pytest

from skrkit.sandbox.applications import create
from skrkit.sandbox.cast import ensure_cast
from tests.sandbox.maa.attested import NOW, make_world


def test_no_secret_is_taken_for_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`az login --password SECRET` reads its arguments by argparse: one secret in 64 would be refused."""
    drawn = iter(["-first", "--second", "third", "-fourth", "fifth"])
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _size: next(drawn))
    world = make_world(tmp_path)
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--password")
    made = (str(ensure_cast(world.store, NOW)["client_secret"]), create(world, "me").secret)
    assert made == ("third", "fifth")
    assert [parser.parse_args(["--password", secret]).password for secret in made] == list(made)
    with pytest.raises(argparse.ArgumentError):
        parser.parse_args(["--password", "-first"])
    world.store.close()
