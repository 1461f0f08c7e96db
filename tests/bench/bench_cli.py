"""How long the command takes to start, against `python -c pass`: whole processes, in turn, so that all share the noise.

Bounds of the project: `skrkit --version` 2.5 times, `skrkit inspect` of an HCL report 6 times. Bytecode is compiled
once beforehand, as an installation has it, into a folder of its own.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

pytestmark = pytest.mark.bench

ROUNDS = 25
BASE = "python -c pass"


def seconds(command: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment)
    return time.perf_counter() - start


def test_start(benchmark: BenchmarkFixture, captures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = str(Path(sysconfig.get_path("scripts")) / ("skrkit.exe" if os.name == "nt" else "skrkit"))
    report = str(captures / "azure-snp-milan-v3/hcl-report.bin")
    commands = {
        BASE: [sys.executable, "-c", "pass"],
        "skrkit --version": [script, "--version"],
        "skrkit inspect": [script, "inspect", report],
        "skrkit inspect --json": [script, "inspect", "--json", report],
        "python -c import rich.console, rich.table": [sys.executable, "-c", "import rich.console, rich.table"],
    }
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    times: dict[str, list[float]] = {name: [] for name in commands}

    def one_round() -> None:
        for name, command in commands.items():
            times[name].append(seconds(command, environment))

    benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=1)  # type: ignore[no-untyped-call]
    with capsys.disabled():
        print(f"\n{'':42} {'min ms':>8} {'x':>6} {'median ms':>10} {'x':>6}   ({ROUNDS} rounds, interleaved)")
        base = times[BASE][1:]  # the first round compiles
        for name, all_taken in times.items():
            taken = all_taken[1:]
            low, middle = min(taken), statistics.median(taken)
            ratios = (low / min(base), middle / statistics.median(base))
            benchmark.extra_info[name] = ratios
            print(f"{name:42} {low * 1e3:8.1f} {ratios[0]:6.2f} {middle * 1e3:10.1f} {ratios[1]:6.2f}")
