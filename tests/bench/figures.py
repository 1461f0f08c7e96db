"""The project's figures, their bounds, and the table that ends `make bench`. Nothing here fails for being slow.

A benchmark that provides a figure says so with `@pytest.mark.figure("<name>")` and hands it in through the fixture
`figures`. What is not handed in is printed as not measured, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

MARKS = {True: "✓ within", False: "✗ beyond"}
NOT_MEASURED = "– not measured"
ASCII = str.maketrans({"✓": "+", "✗": "x", "–": "-", "µ": "u", "×": "x", "≤": "<="})


class Unit(Enum):
    """What a figure's number is of."""

    SECONDS = "s"
    BYTES = "B"
    MODULES = "modules"
    FAILURES = "failures"


class Held(Enum):
    """Which number is held against the bound: the measured one, or its ratio to what stands beside it."""

    MEASURED = "measured"
    RATIO = "ratio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of the project: its name, what it says in the table, and its bound."""

    name: str
    text: str
    bound: float
    held: Held
    unit: Unit = Unit.SECONDS


FIGURES = (
    Figure(name="verify", text="verify a report, its chain seen before / bare calls", bound=1.5, held=Held.RATIO),
    Figure(name="verify-new", text="verify a report, its chain new / bare calls", bound=1.5, held=Held.RATIO),
    Figure(name="parse-hcl", text="parse an HCL report with all inside", bound=50e-6, held=Held.MEASURED),
    Figure(name="policy", text="evaluate a two-clause policy", bound=20e-6, held=Held.MEASURED),
    Figure(name="explain", text="skrkit explain of a saved refusal, whole process", bound=0.15, held=Held.MEASURED),
    Figure(name="explanation", text="explain a refusal: decision, reasons, repairs", bound=1e-3, held=Held.MEASURED),
    Figure(name="lint", text="lint a policy of 1,000 authorities", bound=50e-3, held=Held.MEASURED),
    # "Grow linearly" has no number of its own: growth with the square of the count would be 100 times.
    Figure(name="growth", text="evaluate one authority of 1,000 / of 10", bound=1.5, held=Held.RATIO),
    Figure(name="version", text="skrkit --version / python -c pass", bound=2.5, held=Held.RATIO),
    Figure(name="inspect", text="skrkit inspect hcl-report.bin / python -c pass", bound=6, held=Held.RATIO),
    Figure(
        name="version-azure",
        text="Azure modules that skrkit --version loads",
        bound=0,
        held=Held.MEASURED,
        unit=Unit.MODULES,
    ),
    Figure(
        name="inspect-azure",
        text="Azure modules that skrkit inspect loads",
        bound=0,
        held=Held.MEASURED,
        unit=Unit.MODULES,
    ),
    Figure(name="ready", text="skrkit sandbox up, new state, until ready", bound=1, held=Held.MEASURED),
    Figure(
        name="resident",
        text="sandbox resident after a walkthrough",
        bound=150e6,
        held=Held.MEASURED,
        unit=Unit.BYTES,
    ),
    Figure(name="release", text="release round trip / the cryptography in it", bound=2, held=Held.RATIO),
    Figure(
        name="walkthrough", text="skrkit walkthrough, new state, sandbox start included", bound=5, held=Held.MEASURED
    ),
    Figure(name="doctor", text="skrkit doctor, a healthy sandbox VM from both sides", bound=3, held=Held.MEASURED),
    Figure(name="notebooks", text="all notebooks in sequence, sandbox start included", bound=60, held=Held.MEASURED),
    Figure(
        name="singles",
        text="faults of the sandbox that explain does not name first",
        bound=0,
        held=Held.MEASURED,
        unit=Unit.FAILURES,
    ),
    Figure(
        name="pairs",
        text="pairs of faults, of a hundred, whose first it does not name first",
        bound=10,
        held=Held.MEASURED,
        unit=Unit.FAILURES,
    ),
    Figure(name="largest", text="the largest notebook file", bound=500e3, held=Held.MEASURED, unit=Unit.BYTES),
    Figure(name="lab", text="skrkit lab until a notebook's kernel answers in the page", bound=10, held=Held.MEASURED),
    Figure(name="widget", text="the slowest widget, event to changed page", bound=0.1, held=Held.MEASURED),
    Figure(
        name="load-failures",
        text="errors and lost writes, fifty SDK clients at once",
        bound=0,
        held=Held.MEASURED,
        unit=Unit.FAILURES,
    ),
    Figure(name="get-p99", text="get of a key, fifty SDK clients at once, p99", bound=0.05, held=Held.MEASURED),
    Figure(
        name="memory",
        text="sandbox resident, end of the load / after its first quarter",
        bound=1.05,
        held=Held.RATIO,
        unit=Unit.BYTES,
    ),
    # 70 % of the throughput that the cryptography alone allows.
    Figure(
        name="release-rate",
        text="a release, fifty SDK clients at once / the same of cryptography alone",
        bound=1 / 0.7,
        held=Held.RATIO,
    ),
    Figure(name="list-many", text="list 10,000 keys, all pages", bound=2, held=Held.MEASURED),
    Figure(name="list-growth", text="list a thousand of 10,000 keys / of 1,000", bound=1.5, held=Held.RATIO),
    Figure(name="start-many", text="sandbox up with 10,000 keys, until ready", bound=2, held=Held.MEASURED),
    Figure(
        name="killed",
        text="acknowledged writes that a kill -9 took",
        bound=0,
        held=Held.MEASURED,
        unit=Unit.FAILURES,
    ),
    Figure(
        name="attendees",
        text="failures of 20 attendees at once, notebooks 01 to 04",
        bound=0,
        held=Held.MEASURED,
        unit=Unit.FAILURES,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A median, and the median of what ran beside it in turn, if anything did; and the shortest time of each.

    The verdict is over the medians. The shortest times say how much of them is the machine's noise.
    """

    value: float
    beside: float | None = None
    least: float | None = None
    least_beside: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times `beside` the value is."""
        return None if self.beside is None else self.value / self.beside


@dataclass(slots=True)
class Figures:
    """What this run measured, and why it did not measure the rest."""

    measured: dict[str, Measured] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    also: list[tuple[str, str]] = field(default_factory=list)

    def hand_in(self, name: str, measured: Measured | None) -> None:
        """Keep a figure. None is what a run without timings (`--benchmark-disable`) has."""
        if all(figure.name != name for figure in FIGURES):
            raise KeyError(f"no figure is called {name!r}")
        if measured is None:
            self.reasons[name] = "timings are off"
        else:
            self.measured[name] = measured

    def note(self, text: str, found: Measured | str | None) -> None:
        """Keep what nobody set a bound for, a measurement or a sentence, to be printed below the table."""
        if isinstance(found, Measured):
            beside = "" if found.beside is None else f" / {shown(found.beside, Unit.SECONDS)} = {found.ratio:.2f}"
            found = f"{shown(found.value, Unit.SECONDS)}{beside}"
        if found is not None:
            self.also.append((text, found))

    def drop(self, name: str, reason: str) -> None:
        """Say that a figure was not measured, whatever was handed in before."""
        self.measured.pop(name, None)
        self.reasons[name] = reason

    def table(self) -> Iterator[str]:
        """Yield the lines of the table: one figure a line, then what was measured besides, then the count."""
        width = max(len(figure.text) for figure in FIGURES)
        yield f"{'figure':{width}}  {'measured':>8}  {'beside':>8}  {'ratio':>5}  {'at best':>8}  {'bound':>8}"
        verdicts = []
        for figure in FIGURES:
            found = self.measured.get(figure.name)
            if found is None:
                reason = self.reasons.get(figure.name, "no benchmark of it ran")
                verdicts.append(NOT_MEASURED)
                yield f"{figure.text:{width}}  {NOT_MEASURED}: {reason}"
                continue
            verdict = MARKS[is_within(figure, found)]
            verdicts.append(verdict)
            yield f"{figure.text:{width}}  {_cells(figure, found)}  {verdict}"
        for text, value in self.also:
            yield f"also: {text}: {value}"
        yield ", ".join(f"{verdicts.count(word)} {word[2:]}" for word in (*MARKS.values(), NOT_MEASURED))


def is_within(figure: Figure, found: Measured) -> bool:
    """Return whether a measurement keeps its figure's bound. A ratio that is missing or no number does not."""
    value = found.value if figure.held is Held.MEASURED else found.ratio
    return value is not None and math.isfinite(value) and value <= figure.bound


def _cells(figure: Figure, found: Measured) -> str:
    beside = "" if found.beside is None else shown(found.beside, figure.unit)
    ratio = "" if found.ratio is None else f"{found.ratio:.2f}"
    bound = f"{figure.bound:g} ×" if figure.held is Held.RATIO else shown(figure.bound, figure.unit)
    best = _best(figure, found)
    return f"{shown(found.value, figure.unit):>8}  {beside:>8}  {ratio:>5}  {best:>8}  {'≤ ' + bound:>8}"


def _best(figure: Figure, found: Measured) -> str:
    """Return the shortest time in the form of the bound, or nothing where there was one measurement only."""
    if found.least is None:
        return ""
    if figure.held is Held.MEASURED:
        return shown(found.least, figure.unit)
    return f"{found.least / found.least_beside:.2f} ×" if found.least_beside else ""


def shown(value: float, unit: Unit) -> str:
    """Return a number with the unit that a person would choose."""
    if unit in (Unit.MODULES, Unit.FAILURES):
        return f"{value:.0f}"
    if unit is Unit.BYTES:
        return f"{value / 1e6:.0f} MB" if value >= 1e6 else f"{value / 1e3:.0f} kB"
    for size, name in ((1.0, "s"), (1e-3, "ms")):
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value / 1e-6:.3g} µs"
