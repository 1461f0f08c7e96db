"""The rehearsal of a workshop: everybody's own sandbox, and a failure is one attendee's, named, and counted."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks.conftest import NOTEBOOKS

PROGRAM = NOTEBOOKS / "workshop.py"


@pytest.fixture
def workshop(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(NOTEBOOKS))  # as when it is run as a program
    spec = importlib.util.spec_from_file_location("notebooks_workshop", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "notebooks_workshop", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("jupyter")
def test_two_attendees_have_a_sandbox_each_and_are_told_apart(tmp_path: Path) -> None:
    command = [sys.executable, str(PROGRAM), "--attendees", "2", "--json", "01"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "HOME": str(tmp_path)}
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["attendees"], found["failures"]) == (2, 0)
    for each in found["each"]:
        assert each["done"] == ["01_managed_identity"]
        assert each["seconds"] > each["slowest_cell"][0] > 0
    if Path("/proc/self/smaps_rollup").exists():
        assert found["kernel"] > 10e6
        assert found["sandbox"] > 10e6
        assert found["memory"] == found["kernel"] + found["sandbox"]


@pytest.mark.usefixtures("jupyter")
@pytest.mark.filterwarnings("default")  # Jupyter's own warnings are not ours to fix
def test_a_cell_that_fails_is_one_failure_and_the_next_notebook_runs(
    workshop: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    v4 = pytest.importorskip("nbformat.v4")
    sources = {"broken": "raise ValueError('of all things')", "sound": "1 + 1"}
    monkeypatch.setattr(
        workshop.build, "unexecuted", lambda name: v4.new_notebook(cells=[v4.new_code_cell(sources[name])])
    )
    import asyncio

    attendees = asyncio.run(workshop.rehearse(2, ["broken", "sound"], tmp_path))
    assert [each.done for each in attendees] == [["sound"], ["sound"]]
    assert [each.failures for each in attendees] == [["broken: CellExecutionError: ValueError: of all things"]] * 2
    found = workshop.report(attendees, 1.0)
    said = list(workshop.lines(found, ["broken", "sound"]))
    assert "attendee 2 failed in broken: CellExecutionError: ValueError: of all things" in said
    assert said[-1] == "0 of 2 finished without a failure"


@pytest.mark.parametrize("arguments", [["--attendees", "0"], ["99"], ["01", "x"]])
def test_what_cannot_be_rehearsed_is_said(
    workshop: Any, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        workshop.main(arguments)
    assert ended.value.code == 2
    assert "notebooks that are there: 00 01 02" in capsys.readouterr().err
