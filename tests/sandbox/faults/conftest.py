"""A sandbox after steps 1 to 3, which every test leaves without a fault."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from skrkit.policy.templates import cvm_policy
from skrkit.provision import access, identity
from skrkit.provision.key import create
from skrkit.sandbox.endpoint import Endpoint
from skrkit.sandbox.faults.client import switch_all_off
from tests.sandbox.faults.faulted import VAULT, attested_token, cloud_of
from tests.sandbox.running import STAGE, staged


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A sandbox after steps 1 to 3."""
    with staged(tmp_path_factory.mktemp("faults")) as started:
        cloud = cloud_of(started)
        made = identity.enable(cloud, STAGE)
        access.grant(cloud, STAGE, made.object_id)
        create(cloud, VAULT, STAGE.key, cvm_policy(STAGE.attestation))
        yield started


@pytest.fixture(scope="module")
def target(endpoint: Endpoint) -> str:
    """A good attestation token, good for all of the module."""
    return attested_token(cloud_of(endpoint))


@pytest.fixture(autouse=True)
def nothing_stays_on(endpoint: Endpoint) -> Iterator[None]:
    """Every test leaves the sandbox as it was."""
    yield
    switch_all_off(home=endpoint.home)
