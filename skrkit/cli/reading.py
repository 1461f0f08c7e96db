"""What a command is given to read: a file by name, or standard input. Never more than a wide bound."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from skrkit.errors import UsageError

if TYPE_CHECKING:
    from typing import BinaryIO

MAX_INPUT_BYTES = 16 << 20  # an event log is 45 kB, a release response 17 kB; this is a wide bound


def read_input(name: str, *, limit: int = 0) -> bytes:
    """Return the bytes of a file or of standard input, at most `limit`, without one 16 MiB.

    Raises `UsageError`: no such file, a folder, too large.
    """
    limit = limit or MAX_INPUT_BYTES
    if name == "-":
        if sys.stdin is None:
            raise UsageError(
                what="standard input", where="-", expected="something to read", found="it is closed", fix="Name a file."
            )
        return _limited(sys.stdin.buffer, "standard input", limit)
    try:
        with open(name, "rb") as stream:
            return _limited(stream, name, limit)
    except OSError as cause:
        raise UsageError(
            what="file",
            where=repr(name),
            expected="a file that can be read, or - for standard input",
            found=_worded(cause),
            fix="Check the path.",
        ) from None
    except ValueError:  # a NUL in the name
        raise UsageError(
            what="file", where=repr(name), expected="a path", found="a name no file can have", fix="Check the path."
        ) from None


def _limited(stream: BinaryIO, name: str, limit: int) -> bytes:
    data = stream.read(limit + 1)
    if len(data) > limit:
        raise UsageError(
            what="file",
            where=repr(name),
            expected=f"at most {limit} bytes",
            found="more",
            fix="Every artefact of secure key release is far smaller: pass that artefact alone.",
        )
    return data


def _worded(cause: OSError) -> str:
    if isinstance(cause, FileNotFoundError):
        return "no such file"
    if isinstance(cause, IsADirectoryError):
        return "a folder"
    if isinstance(cause, PermissionError):
        return "no permission to read it"
    return cause.strerror or type(cause).__name__
