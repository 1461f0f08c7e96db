"""Every notebook runs top to bottom in a fresh kernel, makes what is committed, and can be run again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.notebooks.conftest import NOTEBOOKS, load_builder

NAMES: list[str] = load_builder().names()

pytestmark = [
    pytest.mark.usefixtures("jupyter"),
    pytest.mark.filterwarnings("default"),  # Jupyter's own warnings are not ours to fix
]


@pytest.mark.parametrize("name", NAMES)
def test_runs_and_makes_what_is_committed(builder: Any, sandbox_home: Path, name: str) -> None:
    nbformat = pytest.importorskip("nbformat")
    notebook = builder.built(name, sandbox_home)
    assert [
        cell.id for cell in notebook.cells if any(out.output_type == "error" for out in cell.get("outputs", ()))
    ] == []
    committed = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    assert builder.shape(notebook) == builder.shape(committed)


@pytest.mark.parametrize("name", ["02_access_policy", "01_managed_identity"])
def test_runs_again_and_out_of_order(builder: Any, sandbox_home: Path, name: str) -> None:
    builder.built(name, sandbox_home)  # a third kernel, on the world that the others left


def test_a_cell_that_fails_stops_the_build(builder: Any, sandbox_home: Path, tmp_path: Path) -> None:
    v4 = pytest.importorskip("nbformat.v4")
    failed = pytest.importorskip("nbclient.exceptions").CellExecutionError
    notebook = v4.new_notebook(cells=[v4.new_code_cell("1 / 0")])
    with pytest.raises(failed, match="ZeroDivisionError"):
        builder.execute(notebook, home=sandbox_home, folder=tmp_path)
