"""A sandbox of their own for the tests of the notebooks' package: one that is shared, or a fresh one to break."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skrkit.sandbox import process
from skrkit.sandbox.endpoint import HOME_VARIABLE


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state folder of one sandbox that the tests of a module share."""
    home = tmp_path_factory.mktemp("lab") / "state"
    yield home
    process.down(home)


@pytest.fixture
def home(shared_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shared sandbox, as everything finds it that asks for none."""
    monkeypatch.setenv(HOME_VARIABLE, str(shared_home))
    return shared_home


@pytest.fixture
def fresh_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder in which nothing is yet."""
    home = tmp_path / "state"
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    yield home
    process.down(home)
