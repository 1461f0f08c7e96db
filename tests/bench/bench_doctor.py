"""The doctor against a healthy VM of a sandbox that runs: the whole process, both sides, every check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from skrkit.sandbox import process
from tests.bench.beside import alone
from tests.bench.figures import Figures
from tests.bench.whole import SKRKIT, environment, run

pytestmark = pytest.mark.bench


@pytest.fixture
def walked(tmp_path: Path, compiled: Path) -> Iterator[dict[str, str]]:
    """The environment of a sandbox in which a walkthrough has made VM, vault and key."""
    variables = environment(compiled, tmp_path / "home")
    run((SKRKIT, "walkthrough", "--step", "3"), variables)
    yield variables
    process.reset(tmp_path / "home")


@pytest.mark.figure("doctor")
def test_doctor(benchmark: BenchmarkFixture, walked: dict[str, str], figures: Figures) -> None:
    """Without a real release, as it is by default."""
    command = (SKRKIT, "doctor", "--cloud", "sandbox", "--json")
    figures.hand_in("doctor", alone(benchmark, lambda: run(command, walked), rounds=5))


def test_doctor_on_an_ordinary_machine(benchmark: BenchmarkFixture, walked: dict[str, str], figures: Figures) -> None:
    """The local checks alone: no network, no SDK."""
    found = alone(benchmark, lambda: run((SKRKIT, "doctor", "--json"), walked), rounds=5)
    figures.note("skrkit doctor where there is no confidential VM", found)
