from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.vault.azure import Azure


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[Azure]:
    """A sandbox with one resource group, a Premium vault and a Standard vault, both open to the operator."""
    made = Azure(tmp_path)
    made.make_group()
    made.make_vault("premium")
    made.make_vault("standard", sku="standard")
    yield made
    made.world.store.close()
