"""Bring the figures of the benchmarks together, and end the run with them as one table."""

from __future__ import annotations

import os
import platform
import sys
from collections import defaultdict
from collections.abc import Generator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.bench.figures import ASCII, Figures

FIGURES_KEY = pytest.StashKey[Figures]()
MARKER = "figure(*names): the figures of tests/bench/figures.py that a benchmark provides"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> Figures:
    """Where a benchmark hands in its figure."""
    return _figures(request.config)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the bytecode that all whole processes of this run share."""
    return tmp_path_factory.mktemp("compiled")


def _figures(config: pytest.Config) -> Figures:
    return config.stash.setdefault(FIGURES_KEY, Figures())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note why a benchmark did not provide its figures: what it said as it was skipped, or how it failed."""
    report = yield
    names = [name for mark in item.iter_markers("figure") for name in mark.args]
    if names:
        _figures(item.config)
    if not report.passed:
        for name in names:
            _figures(item.config).drop(name, _reason(report, call))
    return report


def _reason(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ").partition(": ")[0]  # the whole of it stands above
    said = call.excinfo.exconly() if call.excinfo else "unknown"
    return f"the benchmark failed: {' '.join(said.split())[:300]}"


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_group_stats(benchmarks: list[Any]) -> list[tuple[str, list[Any]]]:
    """Return the benchmarks by their group, or by their file where they have none: small tables, like beside like."""
    groups: dict[str, list[Any]] = defaultdict(list)
    for bench in benchmarks:
        file = bench["fullname"].partition("::")[0].rpartition("/")[2]
        groups[bench["group"] or file.removeprefix("bench_").removesuffix(".py")].append(bench)
    return sorted(groups.items())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None]:
    """Print the table after everything else: after pytest-benchmark's own tables, and after the list of skips."""
    yield
    found = terminalreporter.config.stash.get(FIGURES_KEY, None)
    if found is None:
        return
    terminalreporter.section("FIGURES (medians of this run)")
    for line in (_place(), *found.table()):
        terminalreporter.write_line(line if _can_write(line) else line.translate(ASCII))


def _can_write(line: str) -> bool:
    try:
        line.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _place() -> str:
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return (
        f"{python}, cryptography {version('cryptography')}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} processors{load}"
    )
