"""Whole processes: the command line as a user starts it, its bytecode compiled beforehand as an installation has it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

BASE = (sys.executable, "-c", "pass")
SKRKIT = str(Path(sysconfig.get_path("scripts")) / ("skrkit.exe" if os.name == "nt" else "skrkit"))
IDLE_S = "300"  # should a run be killed, its sandbox ends by itself soon afterwards


def environment(compiled: Path, home: Path) -> dict[str, str]:
    """Return the environment of such a process: bytecode is kept in `compiled`, the sandbox's state in `home`."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {
        "PYTHONPYCACHEPREFIX": str(compiled),
        "SKRKIT_HOME": str(home),
        "SKRKIT_SANDBOX_IDLE_S": IDLE_S,
        "COLUMNS": "120",
    }


def run(command: tuple[str, ...], variables: dict[str, str]) -> None:
    """Run a command to its end. Raises `RuntimeError` with its last words where it fails."""
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=variables)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[-500:]
        raise RuntimeError(f"{Path(command[0]).name} {' '.join(command[1:])} exited with {done.returncode}: {said}")
