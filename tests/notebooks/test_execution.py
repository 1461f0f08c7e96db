"""Every notebook runs top to bottom in a fresh kernel, makes what is committed to the letter, and can be run again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.notebooks.conftest import load_builder

NAMES: list[str] = load_builder().names()

pytestmark = [
    pytest.mark.usefixtures("jupyter"),
    pytest.mark.filterwarnings("default"),  # Jupyter's own warnings are not ours to fix
]


@pytest.mark.parametrize("name", NAMES)
def test_runs_and_makes_what_is_committed(builder: Any, seeded_home: Path, name: str) -> None:
    notebook = builder.rebuilt(name, seeded_home)
    assert [
        cell.id for cell in notebook.cells if any(out.output_type == "error" for out in cell.get("outputs", ()))
    ] == []
    assert "\n".join(str(difference) for difference in builder.unlike(name, notebook)) == ""


def test_two_builds_in_a_row_differ_in_nothing_at_all(builder: Any, seeded_home: Path, comparison: Any) -> None:
    """01 has nothing that a mask names: the two are equal as they are."""
    once, again = (
        [
            (what, text)
            for cell in builder.rebuilt("01_managed_identity", seeded_home).cells
            for output in cell.get("outputs", ())
            for what, text in comparison.texts(output)
        ]
        for _ in range(2)
    )
    assert len(once) > 20
    assert once == again


@pytest.mark.parametrize("name", ["02_access_policy", "01_managed_identity"])
def test_runs_on_a_sandbox_without_a_seed(builder: Any, sandbox_home: Path, name: str) -> None:
    builder.built(name, sandbox_home)


@pytest.mark.parametrize("name", ["02_access_policy", "01_managed_identity"])
def test_runs_again_and_out_of_order(builder: Any, sandbox_home: Path, name: str) -> None:
    builder.built(name, sandbox_home)  # a third kernel, on the world that the others left


def test_a_cell_that_fails_stops_the_build(builder: Any, sandbox_home: Path, tmp_path: Path) -> None:
    v4 = pytest.importorskip("nbformat.v4")
    failed = pytest.importorskip("nbclient.exceptions").CellExecutionError
    notebook = v4.new_notebook(cells=[v4.new_code_cell("1 / 0")])
    with pytest.raises(failed, match="ZeroDivisionError"):
        builder.execute(notebook, home=sandbox_home, folder=tmp_path)
