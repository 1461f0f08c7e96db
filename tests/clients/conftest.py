"""A sandbox for strangers: programs that know nothing of skrkit and are led into it by environment variables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from skrkit.sandbox.endpoint import Endpoint
from tests.sandbox.running import staged


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A sandbox in a process of its own, with the resource group, vault and VM that the four steps start from."""
    with staged(tmp_path_factory.mktemp("clients")) as endpoint:
        yield endpoint
