"""The sandbox's start and the whole walkthrough, as a user who has neither yet: new state, new process, each round."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from skrkit.sandbox import process
from skrkit.sandbox.endpoint import read_endpoint
from tests.bench.beside import alone
from tests.bench.figures import Figures, Measured
from tests.bench.whole import SKRKIT, environment, run

pytestmark = pytest.mark.bench

END_TIMEOUT_S = 10.0


@dataclass(slots=True)
class Homes:
    """State folders, one a round. The sandbox of a round ends before the next one starts."""

    folder: Path
    compiled: Path
    variables: dict[str, str] = field(default_factory=dict)
    made: list[Path] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)

    def new(self) -> None:
        """End the sandbox of the last round, and make a folder for the next one."""
        self.end()
        home = self.folder / f"home-{len(self.made)}"
        self.made.append(home)
        self.variables = environment(self.compiled, home)

    def skrkit(self, *arguments: str) -> None:
        """Run a command on the folder of this round."""
        run((SKRKIT, *arguments), self.variables)

    def end(self) -> None:
        """End the sandbox that runs on the last folder, and keep how much memory it had."""
        if not self.made:
            return
        home = self.made[-1]
        endpoint = read_endpoint(home)
        if endpoint is None:
            return
        resident = resident_bytes(endpoint.pid)
        if resident is not None:
            self.resident.append(resident)
        process.down(home)
        wait_for_end(endpoint.pid)


def resident_bytes(pid: int) -> float | None:
    """Return the resident memory of a process as the kernel has it, or None where no kernel says it."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * float(os.sysconf("SC_PAGE_SIZE"))


def wait_for_end(pid: int) -> None:
    """Return when a process that ends has ended: it may still make a key, and the next round is not to pay for that."""
    deadline = time.monotonic() + END_TIMEOUT_S
    while resident_bytes(pid) and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.fixture
def homes(tmp_path: Path, compiled: Path) -> Iterator[Homes]:
    made = Homes(tmp_path, compiled)
    try:
        yield made
    finally:
        made.end()


@pytest.mark.figure("ready")
def test_sandbox_ready(benchmark: BenchmarkFixture, homes: Homes, figures: Figures) -> None:
    """The command itself included, from nothing to a sandbox that answers."""
    figures.hand_in("ready", alone(benchmark, lambda: homes.skrkit("sandbox", "up"), rounds=10, before=homes.new))


@pytest.mark.figure("walkthrough", "resident")
def test_walkthrough(benchmark: BenchmarkFixture, homes: Homes, figures: Figures) -> None:
    """All four steps with every artefact printed, the start of the sandbox included."""
    figures.hand_in("walkthrough", alone(benchmark, lambda: homes.skrkit("walkthrough"), rounds=5, before=homes.new))
    homes.end()
    if homes.resident:
        figures.hand_in("resident", Measured(value=max(homes.resident)))
    else:
        figures.drop("resident", "this system has no /proc/<pid>/statm to read it from")


def test_walkthrough_in_a_sandbox_that_runs(benchmark: BenchmarkFixture, homes: Homes, figures: Figures) -> None:
    """Again on the same stage: what a second look costs."""
    homes.new()
    found = alone(benchmark, lambda: homes.skrkit("walkthrough"), rounds=3)
    figures.note("skrkit walkthrough again, in a sandbox that runs", found)
