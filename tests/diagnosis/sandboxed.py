"""A sandbox after a walkthrough, its faults switched on, one walk gathered, and the commands of the catalogue run."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from skrkit.cli.main import main
from skrkit.cloud import Cloud
from skrkit.diagnosis.case import Case
from skrkit.diagnosis.explain import explain
from skrkit.doctor.gather import gather_case
from skrkit.errors import UsageError
from skrkit.provision.stage import Stage
from skrkit.sandbox.faults import client
from tests.diagnosis.order import right_of

STAGE = Stage()


def gathered(home: Path) -> Case:
    """Return the case of one walk through step 4, as `skrkit explain --live` gathers it."""
    return gather_case(Cloud.sandbox(home=home), STAGE)


@contextmanager
def switched_on(home: Path, *names: str) -> Iterator[None]:
    """Switch faults on in this order, and off in the other; one that was mended meanwhile says so and is left."""
    on: list[str] = []
    try:
        for name in names:
            client.switch_on(name, home=home)
            on.append(name)
        yield
    finally:
        still = {str(fault["name"]) for fault in client.listed(home=home) if fault["on"]}
        for name in reversed(on):
            if name in still:
                client.switch_off(name, home=home)


def run(command: str) -> int:
    """Run a command of the catalogue as a person would paste it, in this process. It must be skrkit's."""
    program, *arguments = shlex.split(command)
    assert program == "skrkit"
    return main(arguments)


@dataclass(frozen=True, slots=True)
class Named:
    """What was named first while these faults were on; empty where the release went through, or nothing was found."""

    faults: tuple[str, ...]
    cause: str
    refusal: str

    @property
    def right(self) -> bool:
        """Whether it is the one that a release meets first, or one of those that the same answer shows."""
        return self.cause in right_of(self.faults)

    def __str__(self) -> str:
        return f"{' + '.join(self.faults)}: {self.cause or 'nothing'} ({self.refusal or 'nothing refused'})"


def named_first(home: Path, sets: Iterable[tuple[str, ...]]) -> Iterator[Named]:
    """Return what is named first for each set of faults; one whose second finds nothing to change is left out."""
    for faults in sets:
        try:
            with switched_on(home, *faults):
                explanation = explain(gathered(home))
        except UsageError:  # such as a mistake in the policy of a key that is not there
            continue
        first = explanation.findings[0].cause.id if explanation.findings else ""
        yield Named(faults, first, explanation.refusal)
