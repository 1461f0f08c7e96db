"""The builder of the notebooks, and one sandbox for all of them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def load_builder() -> Any:
    if str(NOTEBOOKS) not in sys.path:  # as for `python notebooks/build.py`, which imports what lies beside it
        sys.path.insert(0, str(NOTEBOOKS))
    spec = importlib.util.spec_from_file_location("notebooks_build", NOTEBOOKS / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def builder() -> Any:
    return load_builder()


@pytest.fixture(scope="session")
def jupyter() -> None:
    """Skips aloud where what executes notebooks is not installed."""
    for name in ("nbformat", "nbclient", "ipykernel", "ipywidgets"):
        pytest.importorskip(name, reason=f"NO NOTEBOOK RUNS: {name} is not installed. pip install 'skrkit[lab]'")


@pytest.fixture(scope="session")
def sandbox_home(builder: Any) -> Iterator[Path]:
    """The state of one sandbox that all notebooks of this run share, as an attendee's notebooks do."""
    with builder.temporary_sandbox() as home:
        yield home


@pytest.fixture(scope="session")
def seeded_home(builder: Any) -> Iterator[Path]:
    """The state that every committed notebook begins on: made from a seed, with a clock that stands still."""
    with builder.seeded_sandbox() as home:
        yield home


@pytest.fixture(scope="session")
def comparison(builder: Any) -> Any:
    return builder.comparison
