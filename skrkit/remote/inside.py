"""The far end: `python -m skrkit.remote.inside FOLDER ORDER`, as a run command's script starts it inside the VM.

It takes step 4 as the VM's identity, keeps what that made in one file that root alone can read, and writes the first
slice of it; an order for another slice reads on. The last slice takes the file away.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from skrkit.errors import SkrkitError, UsageError

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.remote.names import Errand

_FILE = "answer.xz"


def main(arguments: list[str]) -> int:
    """Obey one order and return the exit code: 0, though the walk failed: its error is in the answer."""
    folder, order = Path(arguments[0]), json.loads(arguments[1])
    number = int(order["slice"]) if order["do"] == "answer" else 0
    try:
        if order["do"] == "release":
            _keep(folder, _answer(order))
        _print_slice(folder, number)
    except SkrkitError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the only way out of a run command
        return error.exit_code
    return 0


def _answer(order: dict[str, object]) -> bytes:
    """Return what the walk made, packed: its artefacts, and the error that ended it if one did."""
    from skrkit.remote.carrying import carried
    from skrkit.remote.names import parse_errand
    from skrkit.run_command.answer import packed
    from skrkit.walkthrough import Walk

    errand = parse_errand(order)
    failed: SkrkitError | None = None
    walk = Walk(cloud=_cloud(errand), stage=errand.stage, steps=errand.steps)
    try:
        walk.run_inside(errand.choice)
    except SkrkitError as error:
        failed = error
    return packed(carried(walk.artefacts, error=failed))


def _cloud(errand: Errand) -> Cloud:
    from skrkit.cloud import Cloud

    if errand.world == "sandbox":
        return Cloud.sandbox()
    return Cloud.azure(tenant=errand.tenant, subscription=errand.subscription, name=errand.azure_cloud)


def _keep(folder: Path, answer: bytes) -> None:
    path = folder / _FILE
    path.unlink(missing_ok=True)  # of an earlier order, perhaps with another mode
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(answer)


def _print_slice(folder: Path, number: int) -> None:
    from skrkit.run_command.answer import slice_of

    path = folder / _FILE
    try:
        piece = slice_of(path.read_bytes(), number)
    except FileNotFoundError:
        raise UsageError(
            what="answer of a run command",
            where=str(path),
            expected="the answer to the order before",
            found="none, or it was read to its end already",
            fix="Give the order again: skrkit walkthrough --remote",
        ) from None
    print(piece.line())  # noqa: T201 - the only way out of a run command
    if number == piece.count - 1:
        path.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
