"""How a kernel words an error: skrkit's own in their words alone, and of a sandbox that has ended, that it has."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from skrkit.errors import ServiceError, SkrkitError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

LOOPBACK = "127.0.0.1"
WIDTH = 100


def word_errors() -> None:
    """Let this kernel show skrkit's own errors in their words alone: a traceback of the product teaches nothing.

    And those of the Azure SDKs where all that they say is that the sandbox is not there: a hundred lines of their
    pipelines do not mention it.
    """
    ipython = sys.modules.get("IPython")  # there in every kernel, and nobody else's business
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None:
        return
    from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError

    worded = (SkrkitError, ServiceRequestError, ServiceResponseError, ClientAuthenticationError)
    shell.set_custom_exc(worded, _show_error)


def _show_error(
    shell: Any, kind: type[BaseException], error: BaseException, trace: TracebackType, tb_offset: int | None = None
) -> list[str]:
    """Show an error as IPython shows one, with its words in place of the traceback where there are words."""
    said = not_running(error) or (error if isinstance(error, SkrkitError) else None)
    lines: list[str]
    if said is None:
        lines = shell.InteractiveTB.structured_traceback(kind, error, trace, tb_offset=tb_offset)
    else:
        lines = worded(said)
    shell._showtraceback(kind, error, lines)
    return lines


def not_running(error: BaseException) -> ServiceError | None:
    """Return what to say of an error whose cause is that no sandbox runs, or None where it is not.

    The sandbox is on loopback, so an error of a real cloud's network is none of it.
    """
    from skrkit.sandbox import process

    if not any(LOOPBACK in str(each) for each in _causes(error)) or process.running() is not None:
        return None
    return ServiceError(
        what="sandbox",
        where="the address that this cell asked",
        expected="a sandbox that runs",
        found="none: it has ended",
        fix="Run lab.start(), then this cell again. What was made in the sandbox is kept.",
        code="SandboxNotRunning",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, what it was raised from, and so on."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def worded(error: SkrkitError) -> list[str]:
    """Return an error of skrkit in lines: what and where, expected, found, fix."""
    from io import StringIO

    from skrkit.render.plain import write
    from skrkit.render.view import view_of_error

    stream = StringIO()
    write(view_of_error(error), stream, width=WIDTH, colour=False)
    return stream.getvalue().rstrip().splitlines()
