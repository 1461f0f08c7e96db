"""The clock that views count from: that of the sandbox this kernel is in, which may stand still, or this machine's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

_clock: Callable[[], datetime] | None = None


def follow(clock: Callable[[], datetime]) -> None:
    """Take a world's clock, `Cloud.now`, for that of this kernel from now on."""
    global _clock
    _clock = clock


def moment(now: datetime | None = None) -> datetime:
    """Return `now`, or without one the time (aware, in UTC) by the clock of the world that this kernel is in."""
    if now is not None:
        return now
    return datetime.now(UTC) if _clock is None else _clock()
