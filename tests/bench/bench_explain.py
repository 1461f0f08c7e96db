"""How long an explanation takes: of a saved refusal as a whole process, and of a whole case with evidence and token.

The bound of the project: 150 ms for a saved refusal, the interpreter's own start included.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from skrkit.diagnosis.case import Case, Exchange
from skrkit.diagnosis.case_json import case_text
from skrkit.diagnosis.explain import explain
from tests.bench.beside import beside
from tests.bench.figures import Figures
from tests.bench.whole import BASE, SKRKIT, environment, run

pytestmark = pytest.mark.bench

ROUNDS = 15
REFUSED = Exchange(
    service="vault",
    method="POST",
    url="https://contoso.vault.azure.net/keys/payroll/abc/release",
    status=403,
    response_body={
        "error": {
            "code": "Forbidden",
            "message": "Operation release is not allowed on a disabled key.",
            "innererror": {"code": "KeyDisabled"},
        }
    },
)


@pytest.fixture
def whole_case(captures: Path) -> Case:
    """A case with the evidence of a real machine, and the token of another, which was good once."""
    machine, answers = captures / "azure-snp-milan-v3", captures / "maa-token-and-akv-release"
    return Case(
        at=datetime(2025, 9, 1, tzinfo=UTC),
        exchanges=(REFUSED,),
        token=(answers / "maa-token.jwt").read_bytes().strip(),
        jwks=(answers / "maa-jwks.json").read_bytes(),
        authority="https://sharedweu.weu.attest.azure.net",
        evidence={
            "hcl-report": (machine / "hcl-report.bin").read_bytes(),
            "vcek": (machine / "vcek.der").read_bytes(),
            "chain": (captures / "amd-roots" / "milan.pem").read_bytes(),
        },
    )


@pytest.mark.figure("explain")
def test_a_saved_refusal(benchmark: BenchmarkFixture, compiled: Path, tmp_path: Path, figures: Figures) -> None:
    variables = environment(compiled, tmp_path)
    file = tmp_path / "refusal.json"
    file.write_text(json.dumps(REFUSED.response_body), encoding="utf-8")
    command = (SKRKIT, "explain", str(file))
    found = beside(benchmark, lambda: run(command, variables), lambda: run(BASE, variables), rounds=ROUNDS)
    figures.hand_in("explain", found)


def test_a_whole_case(
    benchmark: BenchmarkFixture, whole_case: Case, compiled: Path, tmp_path: Path, figures: Figures
) -> None:
    variables = environment(compiled, tmp_path)
    file = tmp_path / "case.json"
    file.write_text(case_text(whole_case, with_token=True), encoding="utf-8")
    command = (SKRKIT, "explain", str(file))
    found = beside(benchmark, lambda: run(command, variables), lambda: run(BASE, variables), rounds=ROUNDS)
    figures.note("skrkit explain of a case with evidence and token / python -c pass", found)


def test_a_refusal_in_a_running_process(benchmark: BenchmarkFixture) -> None:
    assert benchmark(lambda: explain(Case(exchanges=(REFUSED,)))).findings[0].cause.id == "key.disabled"
