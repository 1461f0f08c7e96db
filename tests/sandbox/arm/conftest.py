from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.vault.azure import Azure


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[Azure]:
    """A sandbox with one resource group and nothing in it."""
    made = Azure(tmp_path)
    made.make_group()
    yield made
    made.world.store.close()
