"""One sandbox for the tests of a module, in which the walkthrough has made what there is to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skrkit.cloud import Cloud
from skrkit.provision.stage import Stage
from skrkit.sandbox import process
from skrkit.walkthrough import Walk

STAGE = Stage()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state folder of a running sandbox that was walked through as far as step 3."""
    folder = tmp_path_factory.mktemp("doctor")
    try:
        Walk(cloud=Cloud.sandbox(home=folder), stage=STAGE, steps=(1, 2, 3)).run()
        yield folder
    finally:
        process.reset(folder)


@pytest.fixture
def operator(home: Path) -> Cloud:
    """The sandbox as its operator sees it."""
    return Cloud.sandbox(home=home)
