"""Two things timed in turn, so that both share the noise of the machine: what is ours, and what it stands beside."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from pytest_benchmark.fixture import BenchmarkFixture

from tests.bench.figures import Measured


class Times:
    """A call that keeps how long it took each time."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self.taken: list[float] = []

    def __call__(self) -> None:
        start = time.perf_counter()
        self._call()
        self.taken.append(time.perf_counter() - start)

    @property
    def median(self) -> float:
        """The median in seconds."""
        return statistics.median(self.taken)


def beside(
    benchmark: BenchmarkFixture,
    ours: Callable[[], object],
    bare: Callable[[], object],
    *,
    rounds: int,
    warmup_rounds: int = 2,
) -> Measured | None:
    """Return the median of `ours`, as pytest-benchmark times it, and of `bare`, called once before each round of it.

    None where benchmarks are disabled.
    """
    turn = Times(bare)
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        ours, setup=turn, rounds=rounds, warmup_rounds=warmup_rounds
    )
    found = measured(benchmark)
    if found is None:
        return None
    taken = turn.taken[warmup_rounds:]
    return replace(found, beside=statistics.median(taken), least_beside=min(taken))


def alone(
    benchmark: BenchmarkFixture,
    ours: Callable[[], object],
    *,
    rounds: int,
    warmup_rounds: int = 1,
    before: Callable[[], None] | None = None,
) -> Measured | None:
    """Return the median of `ours`; `before` runs ahead of each round and is not timed. None where disabled."""
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        ours, setup=before, rounds=rounds, warmup_rounds=warmup_rounds
    )
    return measured(benchmark)


def measured(benchmark: BenchmarkFixture) -> Measured | None:
    """Return the median and the minimum of a benchmark that has run. None where benchmarks are disabled."""
    metadata = benchmark.stats
    if metadata is None:
        return None
    return Measured(value=float(metadata.stats.median), least=float(metadata.stats.min))
