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
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A sandbox after steps 1 to 3."""
    with staged(tmp_path_factory.mktemp("faults")) as endpoint:
        cloud = cloud_of(endpoint)
        made = identity.enable(cloud, STAGE)
        access.grant(cloud, STAGE, made.object_id)
        create(cloud, VAULT, STAGE.key, cvm_policy(STAGE.attestation))
        yield endpoint


@pytest.fixture
def endpoint(started: Endpoint) -> Iterator[Endpoint]:
    """The same sandbox, in which no test leaves a fault."""
    yield started
    switch_all_off(home=started.home)


@pytest.fixture(scope="module")
def target(started: Endpoint) -> str:
    """A good attestation token, good for all of the module."""
    return attested_token(cloud_of(started))
