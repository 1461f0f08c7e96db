"""The configurations that build skrkit elsewhere (Binder, dev container) are well-formed and ask for what exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
BINDER = ROOT / "binder"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def lines(name: str) -> list[str]:
    return (BINDER / name).read_text(encoding="utf-8").splitlines()


def test_every_file_is_one_that_binder_reads() -> None:
    assert {path.name for path in BINDER.iterdir()} == {"apt.txt", "requirements.txt", "runtime.txt"}


def test_packages_are_names_and_nothing_else() -> None:
    for line in lines("apt.txt"):
        assert re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", line), line


def test_python_is_pinned_to_one_that_is_supported() -> None:
    """Without the pin, Binder's default is older than what skrkit needs."""
    (line,) = lines("runtime.txt")
    pinned = re.fullmatch(r"python-(3\.\d+)", line)
    assert pinned is not None
    assert f"Programming Language :: Python :: {pinned.group(1)}" in PROJECT["classifiers"]


def test_the_project_itself_is_installed_with_its_notebooks_extra() -> None:
    """A binder folder hides pyproject.toml: what requirements.txt does not name is not there."""
    (line,) = lines("requirements.txt")
    named = re.fullmatch(r"--editable \.\[([a-z]+)\]", line)
    assert named is not None
    assert named.group(1) in PROJECT["optional-dependencies"]


def test_the_dev_container_installs_extras_that_exist() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    extras = re.search(r"'\.\[([a-z,]+)\]'", container["postCreateCommand"])
    assert extras is not None
    assert set(extras.group(1).split(",")) <= set(PROJECT["optional-dependencies"])
    image, _, version = container["image"].rpartition(":")
    assert image.endswith("/python")
    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]


def test_repo2docker_reads_it_so() -> None:
    """Judged by what Binder runs, where it is installed: it prints the Dockerfile and builds nothing."""
    program = shutil.which("jupyter-repo2docker")
    if program is None:
        pytest.skip("NO REPO2DOCKER (pip install jupyter-repo2docker): binder/ is not judged by Binder's own program")
    command = [program, "--no-build", "--debug", str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed[-2000:]
    for package in lines("apt.txt"):
        assert package in printed
    assert '-r "binder/requirements.txt"' in printed
    assert "python=3.12" in printed
