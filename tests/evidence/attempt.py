"""Call a parser on bytes of any kind: what it raises is a ParseError that can be looked at, or the test fails."""

from __future__ import annotations

from collections.abc import Callable

from skrkit.errors import ParseError


def attempt(call: Callable[[], object]) -> ParseError | None:
    """Return the `ParseError` that the call raises, or None. Any other exception goes through."""
    try:
        call()
    except ParseError as error:
        return error
    return None


def is_worded(error: ParseError | None) -> bool:
    """Return whether an error, if there is one, has all its words and does not say that it found what it expected."""
    return error is None or (
        bool(error.what and error.where and error.expected and error.found and error.fix)
        and error.expected != error.found
    )
