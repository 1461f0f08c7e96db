"""`skrkit lab`: open JupyterLab on the notebooks, in the browser, with the Python that runs this command."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

FIRST = "00_start_here.ipynb"
# A room without network is a room like any other: no question about news, no look for updates or further extensions.
# Nor a search for language servers, which holds up all other answers, nor a check whether JupyterLab should be built
# anew: the page is there a second and a half sooner.
QUIET = (
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
    "--LanguageServerManager.autodetect=False",
    "--ServerApp.tornado_settings={'page_config_data': {'buildCheck': False, 'buildAvailable': False}}",
)
_CHECKOUT = Path(__file__).resolve().parents[2] / "notebooks"


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the command line."""
    text = "open JupyterLab on the notebooks, in the browser; Ctrl-C ends it, the sandbox stays"
    parser = commands.add_parser("lab", help=text, description=text.capitalize() + ".")
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="another folder with the notebooks")
    parser.add_argument("--no-browser", action="store_true", help="print the address, open no browser")
    parser.add_argument("--port", type=int, metavar="PORT", help="that port or none (default: 8888, or the next free)")
    parser.add_argument("--json", action="store_true", help="print what would be run, as one JSON document, and stop")
    parser.set_defaults(func=_lab)


def _lab(arguments: argparse.Namespace) -> int:
    folder = _folder(arguments.folder)
    command = command_for(folder, browser=not arguments.no_browser, port=arguments.port)
    if arguments.json:
        print(json.dumps({"folder": str(folder), "command": command}, indent=2))
        return 0
    _check_installed()
    if arguments.port is not None:
        _check_free(arguments.port)
    # A kernel of the user's own that is called python3, too, would have no skrkit.
    environment = {**os.environ, "JUPYTER_PREFER_ENV_PATH": "1"}
    print(f"JupyterLab opens on {folder}. Ctrl-C ends it; the sandbox and its state stay.", file=sys.stderr, flush=True)
    return _run(command, environment)


def _run(command: list[str], environment: dict[str, str]) -> int:
    """Run JupyterLab in place of this process: Ctrl-C is then its own, and it may ask before it ends."""
    if os.name != "nt":
        os.execve(command[0], command, environment)  # noqa: S606 - our own interpreter
    import subprocess

    return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - our own interpreter


def command_for(folder: Path, *, browser: bool, port: int | None) -> list[str]:
    """Return the command line that opens JupyterLab on `folder`, at the first notebook, without a word to the outside.

    Jupyter listens on loopback alone and makes its own token. It refuses to run as root unless told.
    """
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder}"]
    if (folder / FIRST).exists():
        command.append(f"--LabApp.default_url=/lab/tree/{FIRST}")
    command += QUIET
    if not browser:
        command.append("--no-browser")
    if port is not None:
        command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # a container, mostly
        command.append("--allow-root")
    return command


def _folder(asked: Path | None) -> Path:
    """Return the folder with the notebooks: the one asked for, `notebooks` here, or this checkout's."""
    from skrkit.errors import UsageError

    candidates = [asked] if asked is not None else [Path("notebooks"), Path(), _CHECKOUT]
    for candidate in candidates:
        if any(candidate.glob("[0-9][0-9]_*.ipynb")):
            return candidate.resolve()
    raise UsageError(
        what="notebooks",
        where=str(asked or "this folder"),
        expected=f"a folder with {FIRST} and its siblings",
        found="none" if asked is None or asked.is_dir() else "no such folder",
        fix="Change to a checkout of skrkit, or name the folder: skrkit lab FOLDER",
    )


def _check_free(port: int) -> None:
    """Return nothing if JupyterLab can listen on a port of loopback. Raises `UsageError` where it cannot."""
    import socket

    from skrkit.errors import UsageError

    with socket.socket() as listener:
        if os.name != "nt":  # there it would share the port with whoever has it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as cause:
            raise UsageError(
                what="--port",
                where="skrkit lab",
                expected="a port that is free and that this user may take",
                found=f"{port}: {getattr(cause, 'strerror', None) or cause}",
                fix="Choose another, or leave --port out: then it is 8888, or the next that is free.",
            ) from cause


def _check_installed() -> None:
    """Return nothing if JupyterLab can be started. Raises `UsageError` with the command that installs it."""
    from importlib.util import find_spec

    from skrkit.errors import UsageError

    missing = [name for name in ("jupyterlab", "ipywidgets") if find_spec(name) is None]
    if missing:
        raise UsageError(
            what="packages for the notebooks",
            where=sys.executable,
            expected="jupyterlab and ipywidgets",
            found=f"no {' and no '.join(missing)}",
            fix=f"{sys.executable} -m pip install 'skrkit[lab]'",
        )
