from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.mgmt.resource.deployments import DeploymentsMgmtClient

from tests.sandbox.arm.templates.deploying import Deployer
from tests.sandbox.vault.azure import SUBSCRIPTION, Azure


@pytest.fixture
def deployer(tmp_path: Path) -> Iterator[Deployer]:
    """A sandbox with an empty group, and Azure's own client of deployments for it."""
    azure = Azure(tmp_path)
    azure.make_group()
    client = DeploymentsMgmtClient(azure.credential(), SUBSCRIPTION, **azure.options())
    yield Deployer(azure=azure, client=client)
    azure.world.store.close()
