"""`skrkit lab`: which folder it opens, what it runs, and what it says when it cannot."""

from __future__ import annotations

import ast
import json
import socket
import sys
from pathlib import Path

import pytest

from skrkit.cli import lab
from skrkit.cli.main import main
from skrkit.errors import UsageError


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    folder = tmp_path / "some notebooks"
    folder.mkdir()
    (folder / "00_start_here.ipynb").write_text("{}")
    return folder


def test_json_names_folder_and_command_and_runs_nothing(notebooks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", str(notebooks), "--json", "--no-browser", "--port", "9999"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["folder"] == str(notebooks)
    assert said["command"][:3] == [sys.executable, "-m", "jupyterlab"]
    assert {"--no-browser", "--ServerApp.port=9999", "--ServerApp.port_retries=0"} <= set(said["command"])
    assert f"--ServerApp.root_dir={notebooks}" in said["command"]
    assert "--LabApp.default_url=/lab/tree/00_start_here.ipynb" in said["command"]


def test_no_address_and_no_token_is_set_so_that_jupyter_keeps_to_loopback_and_makes_its_own(notebooks: Path) -> None:
    command = lab.command_for(notebooks, browser=True, port=None)
    options = {word.partition("=")[0].lower() for word in command[3:]}
    assert not any(word in option for option in options for word in ("ip", "token", "password"))
    assert "--no-browser" not in command


def test_nothing_is_looked_up_that_keeps_the_page_waiting(notebooks: Path) -> None:
    command = lab.command_for(notebooks, browser=True, port=None)
    assert {"--LabApp.news_url=None", "--LanguageServerManager.autodetect=False"} <= set(command)
    settings = next(word.partition("=")[2] for word in command if word.startswith("--ServerApp.tornado_settings="))
    assert ast.literal_eval(settings) == {"page_config_data": {"buildCheck": False, "buildAvailable": False}}


@pytest.mark.parametrize(("user", "allowed"), [(0, True), (1000, False)])
def test_root_is_allowed_only_where_the_user_is_root(
    notebooks: Path, monkeypatch: pytest.MonkeyPatch, user: int, allowed: bool
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user, raising=False)
    assert ("--allow-root" in lab.command_for(notebooks, browser=True, port=None)) is allowed


def test_a_folder_named_notebooks_here_is_found(
    notebooks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notebooks.rename(notebooks.with_name("notebooks"))
    monkeypatch.chdir(notebooks.parent)
    assert main(["lab", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"] == str(notebooks.with_name("notebooks"))


@pytest.mark.parametrize(("make", "found"), [(False, "no such folder"), (True, "none")])
def test_a_folder_without_notebooks_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: bool, found: str
) -> None:
    folder = tmp_path / "empty"
    if make:
        folder.mkdir()
    assert main(["lab", str(folder)]) == UsageError.exit_code
    said = capsys.readouterr().err
    assert f"error: notebooks at {folder}" in said
    assert "expected: a folder with 00_start_here.ipynb and its siblings" in said
    assert f"found: {found}" in said
    assert "skrkit lab FOLDER" in said


def test_a_python_without_jupyterlab_is_told_how_to_get_it(
    notebooks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "jupyterlab" else object())
    monkeypatch.setattr(lab, "_run", lambda *_: pytest.fail("nothing may be run"))
    assert main(["lab", str(notebooks)]) == UsageError.exit_code
    said = capsys.readouterr().err
    assert "expected: jupyterlab and ipywidgets" in said
    assert "found: no jupyterlab" in said
    assert f"{sys.executable} -m pip install 'skrkit[lab]'" in said


def test_the_kernels_of_this_python_come_first(
    notebooks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], environment: dict[str, str]) -> int:
        ran.append((command, environment))
        return 3

    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    monkeypatch.setattr(lab, "_run", run)
    assert main(["lab", str(notebooks)]) == 3
    assert ran[0][1]["JUPYTER_PREFER_ENV_PATH"] == "1"
    assert str(notebooks) in capsys.readouterr().err


def test_a_port_that_is_taken_is_said_before_anything_runs(
    notebooks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    monkeypatch.setattr(lab, "_run", lambda *_: pytest.fail("nothing may be run"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["lab", str(notebooks), "--port", str(port)]) == UsageError.exit_code
    said = capsys.readouterr().err
    assert "error: --port at skrkit lab" in said
    assert f"found: {port}: Address already in use" in said
    assert "leave --port out" in said


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_is_none_is_said_too(
    notebooks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], port: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    monkeypatch.setattr(lab, "_run", lambda *_: pytest.fail("nothing may be run"))
    assert main(["lab", str(notebooks), "--port", port]) == UsageError.exit_code
    assert "--port" in capsys.readouterr().err
