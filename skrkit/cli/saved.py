"""Artefacts as files: one each, decoded and as it went over the wire, and an index. Readable by their owner alone."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from skrkit.artefact import STEP_TITLES, Artefact
from skrkit.errors import UsageError

INDEX = "index.json"


def save(artefacts: Sequence[Artefact], folder: Path) -> Path:
    """Return the path of the index, after every artefact was written to `folder`, which is made if need be.

    "4-03-hcl-report.json" is the decoded form, "4-03-hcl-report.bin" the bytes. Files of an earlier save with other
    names stay. Raises `UsageError` when the folder cannot be written.
    """
    entries = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number, artefact in enumerate(artefacts, start=1):
            name = f"{artefact.step}-{number:02d}-{artefact.name}"
            files = [write_fresh(folder / f"{name}.json", json.dumps(artefact.to_json(), indent=2).encode())]
            raw = artefact.saved
            if raw is not None:
                files.append(write_fresh(folder / f"{name}{_suffix(raw)}", raw))
            entries.append({"step": artefact.step, "name": artefact.name, "title": artefact.title, "files": files})
        write_fresh(folder / INDEX, json.dumps({"steps": STEP_TITLES, "artefacts": entries}, indent=2).encode())
    except OSError as cause:
        raise _unwritable(cause, folder, "folder") from cause
    return folder / INDEX


def write_file(path: Path, content: bytes) -> None:
    """Write one file (0600) by way of a fresh one. Raises `UsageError` when it cannot be written."""
    try:
        write_fresh(path, content)
    except OSError as cause:
        raise _unwritable(cause, path, "file") from cause


def _unwritable(cause: OSError, place: Path, kind: str) -> UsageError:
    return UsageError(
        what="--save",
        where=str(cause.filename or place),
        expected=f"a {kind} that can be written",
        found=str(cause.strerror),
        fix=f"Choose another {kind}, or make room on the disk.",
    )


def write_fresh(path: Path, content: bytes) -> str:
    """Return the name of a file (0600) that was written by way of a fresh one.

    Neither a link nor the mode of what lies there already is followed. Raises `OSError`.
    """
    handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(fresh).replace(path)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise
    return path.name


def _suffix(raw: bytes) -> str:
    if raw.startswith(b"-----BEGIN"):
        return ".pem"
    if raw.startswith(b"eyJ") and raw.count(b".") == 2:
        return ".jwt"
    return ".txt" if raw.isascii() and raw[:1].isalnum() else ".bin"
