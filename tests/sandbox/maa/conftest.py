"""A sandbox for the attestation providers, and their app: one for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.types import ASGIApp

from skrkit.sandbox import maa
from skrkit.sandbox.world import World

from .attested import make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A sandbox whose clock stands still."""
    made = make_world(tmp_path_factory.mktemp("maa"))
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def app(world: World) -> ASGIApp:
    """The app of every attestation provider."""
    return maa.app(world)
