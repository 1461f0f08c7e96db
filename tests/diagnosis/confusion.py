"""Which cause was named first for which faults, as a table: a row for what is right, a column for what was named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from skrkit.sandbox.faults.table import GROUPS
from tests.diagnosis.order import right_of
from tests.diagnosis.sandboxed import Named

_WIDTH = 13  # of the longest group's name, and a space


def confusion_table(seen: Sequence[Named]) -> Iterator[str]:
    """Yield the table by groups, and a line for each case whose first finding is not right.

    A group's own column counts right names and, in brackets, wrong ones of the same group.
    """
    counted = Counter((_group(_met_first(each)), _group(each.cause), each.right) for each in seen)
    named = [*GROUPS, *sorted({_group(each.cause) for each in seen} - set(GROUPS))]
    yield "right \\ named".ljust(_WIDTH) + "".join(group.rjust(_WIDTH) for group in named)
    for row in GROUPS:
        cells = [_cell(counted[row, column, True], counted[row, column, False]) for column in named]
        yield row.ljust(_WIDTH) + "".join(cell.rjust(_WIDTH) for cell in cells)
    yield from (f"confused: {each}" for each in seen if not each.right)


def _met_first(seen: Named) -> str:
    return seen.cause if seen.right else min(right_of(seen.faults))


def _cell(right: int, wrong: int) -> str:
    return f"{right or ''}{f'({wrong})' if wrong else ''}" or "."


def _group(name: str) -> str:
    return name.partition(".")[0] or "nothing"
