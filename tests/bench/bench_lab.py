"""How long a widget of the notebooks takes to answer, from the event in the kernel to the HTML that is sent back.

The way to the page and the drawing come on top: `tests/browser` measures those, in the page.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from skrkit import lab
from skrkit.attestation.verifier import verify_evidence
from skrkit.evidence.hcl import parse_hcl_report
from skrkit.lab.bytes_view import field_html
from skrkit.lab.faults import outcome_html
from skrkit.lab.session import World
from skrkit.lab.workbench import assess_html
from skrkit.release.flow import Attested, evidence_of
from skrkit.sandbox import process
from skrkit.sandbox.endpoint import HOME_VARIABLE
from tests.bench.beside import alone, beside
from tests.bench.figures import Figures

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All four steps, in a sandbox of this module."""
    home = tmp_path_factory.mktemp("lab") / "state"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(home))
        yield lab.ensure(step=4)
    process.down(home)


@pytest.fixture(scope="module")
def attested(world: World) -> Attested:
    """What step 4 attested."""
    assert world.attested is not None
    return world.attested


def test_another_field_of_the_byte_explorer(benchmark: BenchmarkFixture, attested: Attested, figures: Figures) -> None:
    """The largest field of an HCL report."""
    hcl = parse_hcl_report(attested.evidence.hcl_report)
    spans = hcl.spans()
    largest = max(range(len(spans)), key=lambda number: spans[number].size)
    found = alone(benchmark, lambda: field_html(hcl.raw, spans, largest), rounds=50)
    figures.note("byte explorer, another field", found)


def test_another_text_in_the_policy_workbench(
    benchmark: BenchmarkFixture, world: World, attested: Attested, figures: Figures
) -> None:
    """Parse, remarks, encoding and every clause, at each key."""
    source = world.keys[0].policy.raw.decode()
    found = alone(benchmark, lambda: assess_html(source, attested.token), rounds=50)
    figures.note("policy workbench, another text", found)


def test_another_fault_of_the_tamper_panel(
    benchmark: BenchmarkFixture, world: World, attested: Attested, figures: Figures
) -> None:
    """The fault, the whole verification and its table, beside the verification alone."""
    evidence, roots, now = evidence_of(attested.evidence), world.cloud.amd_roots(), world.cloud.now()

    def choose() -> str:
        return outcome_html("measurement", lab.tampered(evidence, "measurement", now=now, roots=roots)[1])

    found = beside(benchmark, choose, lambda: verify_evidence(evidence, now=now, roots=roots), rounds=20)
    figures.note("tamper panel, another fault / the verification in it", found)
