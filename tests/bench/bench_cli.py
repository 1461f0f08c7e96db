"""How long the command takes to start, against `python -c pass`: whole processes, in turn, so that all share the noise.

Bounds of the project: `skrkit --version` 2.5 times, `skrkit inspect` of an HCL report 6 times, and no Azure module on
either path. The first rounds compile the bytecode, as an installation has it, and are not counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.bench.beside import beside
from tests.bench.figures import Figures, Measured
from tests.bench.whole import BASE, SKRKIT, environment, run

pytestmark = pytest.mark.bench

ROUNDS = 25
HCL_REPORT = "azure-snp-milan-v3/hcl-report.bin"
AZURE = ("azure", "msal", "msal_extensions", "msrest")
# What the console script runs, and then the name of every module that this loaded.
MODULES = """
import sys
from skrkit.cli.main import main
code = main(sys.argv[1:])
import json
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
sys.exit(code)
"""


class Start:
    """Times the start of commands against the bare interpreter's."""

    def __init__(self, benchmark: BenchmarkFixture, variables: dict[str, str]) -> None:
        self.benchmark = benchmark
        self.variables = variables

    def against_base(self, *command: str) -> Measured | None:
        def base() -> None:
            run(BASE, self.variables)

        return beside(self.benchmark, lambda: run(command, self.variables), base, rounds=ROUNDS)


@pytest.fixture
def variables(compiled: Path, tmp_path: Path) -> dict[str, str]:
    return environment(compiled, tmp_path)


@pytest.fixture
def start(benchmark: BenchmarkFixture, variables: dict[str, str]) -> Start:
    return Start(benchmark, variables)


@pytest.mark.figure("version")
def test_version(start: Start, figures: Figures) -> None:
    figures.hand_in("version", start.against_base(SKRKIT, "--version"))


@pytest.mark.figure("inspect")
def test_inspect(captures: Path, start: Start, figures: Figures) -> None:
    figures.hand_in("inspect", start.against_base(SKRKIT, "inspect", str(captures / HCL_REPORT)))


def test_inspect_json(captures: Path, start: Start, figures: Figures) -> None:
    found = start.against_base(SKRKIT, "inspect", "--json", str(captures / HCL_REPORT))
    figures.note("skrkit inspect --json / python -c pass", found)


def test_rich(start: Start, figures: Figures) -> None:
    """What the import alone of the usual terminal library takes, to compare with."""
    found = start.against_base(sys.executable, "-c", "import rich.console, rich.table")
    figures.note("import rich.console, rich.table / python -c pass", found)


def modules_of(arguments: list[str], variables: dict[str, str], *, first: str = "") -> list[str]:
    command = [sys.executable, "-c", first + MODULES, *arguments]
    done = subprocess.run(command, capture_output=True, check=True, env=variables)
    names: list[str] = json.loads(done.stderr)
    return names


def azure_among(names: list[str]) -> list[str]:
    return [name for name in names if name.partition(".")[0] in AZURE]


@pytest.mark.figure("version-azure")
def test_version_loads_no_azure(variables: dict[str, str], figures: Figures) -> None:
    seen = modules_of(["--version"], variables, first="import azure.core")
    assert "azure.core" in azure_among(seen), "the check sees no Azure module even where there is one"
    loaded = modules_of(["--version"], variables)
    figures.hand_in("version-azure", Measured(value=len(azure_among(loaded))))


@pytest.mark.figure("inspect-azure")
def test_inspect_loads_no_azure(captures: Path, variables: dict[str, str], figures: Figures) -> None:
    loaded = modules_of(["inspect", str(captures / HCL_REPORT)], variables)
    assert "skrkit.evidence.hcl" in loaded
    figures.hand_in("inspect-azure", Measured(value=len(azure_among(loaded))))
