"""Rehearse a workshop: many attendees at once, each with kernels and a sandbox of their own, through the same notebooks.

    python notebooks/workshop.py                            20 attendees, notebooks 01 to 04
    python notebooks/workshop.py --attendees 5 01 02        fewer of both
    python notebooks/workshop.py --json                     the report as one JSON document

Everybody presses Run All at the same moment, which no room of people does: a machine that survives this has room to spare.
Memory is proportional set size: what processes share is divided among them, so the attendees' numbers add up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import build

ATTENDEES = 20
NOTEBOOKS = ("01", "02", "03", "04")
KERNEL_START_S = (
    180  # twenty at once on two processors: the last one waits for all others
)
CELL_TIMEOUT_S = 180
MEGABYTE = 1e6
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(slots=True, kw_only=True)
class Attendee:
    """One attendee: what went wrong, how long it took, what it cost. Times in seconds, memory in bytes.

    `kernel` and `sandbox` are the most that each had at the end of a notebook; 0 where the system does not say.
    """

    number: int
    done: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    slowest_cell: tuple[float, str] = (0.0, "")
    kernel: int = 0
    sandbox: int = 0

    @property
    def memory(self) -> int:
        """Kernel and sandbox together."""
        return self.kernel + self.sandbox


async def attend(attendee: Attendee, names: Sequence[str], home: Path) -> None:
    """Run the notebooks one after the other, each in a fresh kernel, and note what came of it.

    A failure ends that notebook and not the next one: each makes what it needs.
    """
    began = time.monotonic()
    for name in names:
        try:
            await _work_through(attendee, name, home)
            attendee.done.append(name)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this attendee's failure
            attendee.failures.append(f"{name}: {last_words(error)}")
    attendee.seconds = time.monotonic() - began


async def _work_through(attendee: Attendee, name: str, home: Path) -> None:
    from nbclient import NotebookClient

    notebook = build.unexecuted(name)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT_S,
            startup_timeout=KERNEL_START_S,
            kernel_name="python3",
            store_widget_state=False,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": folder}},
        )
        async with client.async_setup_kernel(
            env={**os.environ, "SKRKIT_HOME": str(home)}
        ):
            for place, cell in enumerate(notebook.cells):
                began = time.monotonic()
                await client.async_execute_cell(cell, place)
                took = time.monotonic() - began
                attendee.slowest_cell = max(
                    attendee.slowest_cell, (took, f"{name} {cell.id}")
                )
            _weigh(attendee, client.km.provisioner.pid, home)


def _weigh(attendee: Attendee, kernel: int, home: Path) -> None:
    from skrkit.sandbox.endpoint import read_endpoint

    endpoint = read_endpoint(home)
    attendee.kernel = max(attendee.kernel, proportional_bytes(kernel))
    if endpoint is not None:
        attendee.sandbox = max(attendee.sandbox, proportional_bytes(endpoint.pid))


def proportional_bytes(pid: int) -> int:
    """Return the proportional set size of a process, or 0 where no kernel says it."""
    try:
        said = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB$", said, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def last_words(error: BaseException) -> str:
    """Return the last line of an error that says something, without colours."""
    lines = [line.strip() for line in _ESCAPES.sub("", str(error)).splitlines()]
    said = [line for line in lines if line and not set(line) <= {"-"}]
    return f"{type(error).__name__}: {said[-1][:300] if said else 'without a word'}"


async def rehearse(count: int, names: Sequence[str], folder: Path) -> list[Attendee]:
    """Return the attendees after all of them are through; their sandboxes have ended."""
    from skrkit.sandbox import process

    attendees = [Attendee(number=number) for number in range(1, count + 1)]
    homes = [folder / f"attendee-{each.number}" for each in attendees]
    try:
        await asyncio.gather(
            *(
                attend(each, names, home)
                for each, home in zip(attendees, homes, strict=True)
            )
        )
    finally:
        for home in homes:
            process.down(home)
    return attendees


def report(attendees: Sequence[Attendee], seconds: float) -> dict[str, Any]:
    """Return what a rehearsal came to, as JSON: the whole, then each attendee."""
    return {
        "attendees": len(attendees),
        "seconds": round(seconds, 1),
        "failures": sum(len(each.failures) for each in attendees),
        "memory": _middle([each.memory for each in attendees]),
        "kernel": _middle([each.kernel for each in attendees]),
        "sandbox": _middle([each.sandbox for each in attendees]),
        "most_memory": max(each.memory for each in attendees),
        "each": [{**asdict(each), "memory": each.memory} for each in attendees],
    }


def _middle(values: Sequence[int]) -> int:
    return round(statistics.median(values))


def lines(found: dict[str, Any], names: Sequence[str]) -> Iterator[str]:
    """Yield the report for people."""
    count = found["attendees"]
    yield f"{count} attendees at once, {', '.join(names)}, on {os.cpu_count()} processors: {found['seconds']:.0f} s"
    memory = found["memory"]
    yield (
        f"memory an attendee: {_mb(memory)} (kernel {_mb(found['kernel'])}, sandbox {_mb(found['sandbox'])}), "
        f"at most {_mb(found['most_memory'])}"
        if memory
        else "memory an attendee: not measured, this system has no /proc/<pid>/smaps_rollup"
    )
    slowest, where = max(tuple(each["slowest_cell"]) for each in found["each"])
    yield f"longest wait for a cell: {slowest:.1f} s ({where})"
    for each in found["each"]:
        for failure in each["failures"]:
            yield f"attendee {each['number']} failed in {failure}"
    failed = [each["number"] for each in found["each"] if each["failures"]]
    yield f"{count - len(failed)} of {count} finished without a failure"


def _mb(size: float) -> str:
    return f"{size / MEGABYTE:.0f} MB"


def main(arguments: Sequence[str] | None = None) -> int:
    """Rehearse, print the report, and return 1 if anybody failed."""
    parser = argparse.ArgumentParser(
        description="Let many attendees run the notebooks at once."
    )
    parser.add_argument(
        "numbers",
        nargs="*",
        metavar="NN",
        help="first digits of the notebooks; none means 01 02 03 04",
    )
    parser.add_argument("--attendees", type=int, default=ATTENDEES, metavar="N")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    wanted = options.numbers or NOTEBOOKS
    names = [name for name in build.names() if name[:2] in wanted]
    if options.attendees < 1 or len(names) < len(set(wanted)):
        parser.error(
            "at least one attendee, and notebooks that are there: "
            + " ".join(name[:2] for name in build.names())
        )
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="skrkit-workshop-") as folder:
        attendees = asyncio.run(rehearse(options.attendees, names, Path(folder)))
    found = report(attendees, time.monotonic() - began)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        print(*lines(found, names), sep="\n")
    return 1 if found["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
