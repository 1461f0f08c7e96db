"""Whether `skrkit explain` names the right cause first: every fault of the sandbox alone, and a sample of all pairs.

Of two, right is the one that a release meets first (tests/diagnosis/order.py). SKRKIT_PAIRS is how many pairs are
walked beside one of each two groups, 150 when it is not set; 5000 are more than there are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from skrkit.cloud import Cloud
from skrkit.sandbox import process
from skrkit.sandbox.faults.table import all_faults
from skrkit.walkthrough import Walk
from tests.bench.figures import Figures, Measured
from tests.diagnosis.confusion import confusion_table
from tests.diagnosis.order import sampled_pairs
from tests.diagnosis.sandboxed import STAGE, Named, named_first

pytestmark = pytest.mark.bench

PAIRS = int(os.environ.get("SKRKIT_PAIRS", "150"))
SEED = 4


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made: Path = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKRKIT_HOME", str(made))
        Walk(cloud=Cloud.sandbox(home=made), stage=STAGE).run()
        yield made
    process.reset(made)


def confused(seen: list[Named], figures: Figures, what: str) -> int:
    """Return how many are not named right, and have the confusion table printed."""
    wrong = sum(not named.right for named in seen)
    figures.note(f"{what}: right first", f"{len(seen) - wrong} of {len(seen)}")
    for line in confusion_table(seen):
        figures.note(what, line[:200])
    return wrong


@pytest.mark.figure("singles")
def test_every_fault(home: Path, figures: Figures) -> None:
    names = [fault.name for fault in all_faults()]
    seen = list(named_first(home, [(name,) for name in names]))
    assert len(seen) == len(names)
    figures.hand_in("singles", Measured(value=confused(seen, figures, "single faults")))


@pytest.mark.figure("pairs")
def test_pairs_of_faults(home: Path, figures: Figures) -> None:
    seen = list(named_first(home, sampled_pairs(PAIRS, seed=SEED)))
    assert seen
    wrong = confused(seen, figures, "pairs of faults")
    figures.hand_in("pairs", Measured(value=100 * wrong / len(seen)))
