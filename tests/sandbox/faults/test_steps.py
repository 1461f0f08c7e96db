"""The step that the gallery names for a fault is the one at which a walkthrough stops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from skrkit.artefact import STEP_TITLES
from skrkit.errors import SkrkitError
from skrkit.sandbox.endpoint import Endpoint
from skrkit.sandbox.faults.client import switch_off, switch_on
from skrkit.sandbox.faults.table import all_faults, fault_named
from skrkit.walkthrough import Walk
from tests.sandbox.faults.faulted import cloud_of
from tests.sandbox.running import STAGE

MENDED_ON_THE_WAY = ("identity.none", "identity.several")  # step 1 gives the VM an identity of its own
EARLY = [fault.name for fault in all_faults() if fault.step < 4 and fault.name not in MENDED_ON_THE_WAY]


def walked(endpoint: Endpoint) -> int:
    """The step in which a walkthrough was when it stopped, 0 if it did not."""
    at = [0]

    @contextmanager
    def doing(what: str) -> Iterator[None]:
        at.append(next((number for number, title in STEP_TITLES.items() if title == what), 4))
        yield

    try:
        Walk(cloud=cloud_of(endpoint), stage=STAGE, doing=doing).run()
    except SkrkitError:
        return at[-1]
    return 0


@pytest.mark.parametrize("name", EARLY)
def test_a_walkthrough_stops_where_the_gallery_says(endpoint: Endpoint, name: str) -> None:
    switch_on(name, home=endpoint.home)
    assert walked(endpoint) == fault_named(name).step


@pytest.mark.parametrize("name", MENDED_ON_THE_WAY)
def test_a_walkthrough_mends_an_identity(endpoint: Endpoint, name: str) -> None:
    switch_on(name, home=endpoint.home)
    assert walked(endpoint) == 0
    assert switch_off(name, home=endpoint.home).startswith("Left as it is: cvm-1 (")
