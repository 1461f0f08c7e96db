"""Whether `skrkit explain` names the right cause first: every fault of the sandbox alone, and a sample of all pairs.

SKRKIT_PAIRS is how many pairs, 60 when it is not set; 5000 are more than there are. What is confused is printed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from skrkit.cloud import Cloud
from skrkit.sandbox import process
from skrkit.sandbox.faults.table import all_faults
from skrkit.walkthrough import Walk
from tests.bench.figures import Figures, Measured
from tests.diagnosis.sandboxed import STAGE, Named, named_first

pytestmark = pytest.mark.bench

PAIRS = int(os.environ.get("SKRKIT_PAIRS", "60"))
SEED = 4
SHOWN = 20  # of what is confused


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made: Path = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKRKIT_HOME", str(made))
        Walk(cloud=Cloud.sandbox(home=made), stage=STAGE).run()
        yield made
    process.reset(made)


def names() -> list[str]:
    return [fault.name for fault in all_faults()]


def confused(seen: list[Named], figures: Figures, what: str) -> int:
    """Return how many are not named right, and have them printed: the confusion table."""
    wrong = [named for named in seen if not named.right]
    figures.note(f"{what}: right first", f"{len(seen) - len(wrong)} of {len(seen)}")
    for named in wrong[:SHOWN]:
        figures.note("confused", str(named)[:200])
    return len(wrong)


@pytest.mark.figure("singles")
def test_every_fault(home: Path, figures: Figures) -> None:
    seen = list(named_first(home, [(name,) for name in names()]))
    assert len(seen) == len(names())
    figures.hand_in("singles", Measured(value=confused(seen, figures, "single faults")))


@pytest.mark.figure("pairs")
def test_pairs_of_faults(home: Path, figures: Figures) -> None:
    pairs = list(combinations(names(), 2))
    seen = list(named_first(home, random.Random(SEED).sample(pairs, min(PAIRS, len(pairs)))))
    assert seen
    wrong = confused(seen, figures, "pairs of faults")
    figures.hand_in("pairs", Measured(value=100 * wrong / len(seen)))
