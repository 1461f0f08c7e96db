from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.hsm.azure import HsmAzure


@pytest.fixture
def provisioned(tmp_path: Path) -> Iterator[HsmAzure]:
    """A sandbox with the Managed HSM `pool`, whose security domain nobody has."""
    made = HsmAzure(tmp_path)
    made.make_group()
    assert made.make_hsm().status_code == 202
    yield made
    made.world.store.close()


@pytest.fixture
def azure(provisioned: HsmAzure) -> HsmAzure:
    """The same, activated, and the operator is Crypto User beside Administrator."""
    provisioned.activate()
    assert provisioned.grant("Crypto User", scope="/").status_code == 201
    return provisioned
