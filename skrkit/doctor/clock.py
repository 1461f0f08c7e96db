"""Is the clock right? Held against the Date header of a service that was just asked, or the time in a fresh token."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from skrkit.doctor.check import Check, Outcome, failed, not_checked, ok, skipped

if TYPE_CHECKING:
    from skrkit.doctor.visit import Visit
    from skrkit.services.recording import HttpExchange
    from skrkit.wire import Json

TOLERATED_S = 60  # the verifiers of tokens forgive five minutes; a clock that the host keeps is off by far less
_SOURCES_FIX = "Compare `date -u` with a clock that you trust."


def _right(visit: Visit) -> Outcome:
    now = visit.either_side.now()
    dated = date_of(visit.exchanges)
    if dated is not None:
        who, theirs = dated
        return _compared(who, theirs, now, both_ways=True)
    if not visit.issued and not any(seen.status and seen.url.startswith("https://") for seen in visit.exchanges):
        return skipped("No service has answered that could say what time it is.")
    if not visit.issued:
        return not_checked("No service that was asked said what time it is.", fix=_SOURCES_FIX)
    who, theirs = max(visit.issued, key=lambda said: said[1])
    return _compared(who, theirs, now, both_ways=False)


def _compared(who: str, theirs: datetime, now: datetime, *, both_ways: bool) -> Outcome:
    """Return the verdict. A token may lie in a cache: it proves a slow clock, and a right one if it is of just now."""
    skew = (now - theirs).total_seconds()
    facts: dict[str, Json] = {"skew_s": round(skew)}
    words = f"Here it is {now.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC; {who}: {theirs:%Y-%m-%d %H:%M:%S} UTC"
    if abs(skew) <= TOLERATED_S:
        return ok(f"{words}.", facts)
    if skew > 0 and not both_ways:
        return not_checked(f"{words}, which may be of an earlier moment.", facts, fix=_SOURCES_FIX)
    direction = "fast" if skew > 0 else "slow"
    said = f"{words}: the clock here is {abs(skew):.0f} s {direction}."
    return failed(said, facts, cause="machine.clock-skew")


def date_of(exchanges: list[HttpExchange]) -> tuple[str, datetime] | None:
    """Return the host and the time in the last Date header that came by https, or None.

    What a host on the way says by plain HTTP proves nothing.
    """
    for seen in reversed(exchanges):
        text = next((value for name, value in seen.response_headers.items() if name.lower() == "date"), "")
        try:
            when = parsedate_to_datetime(text)
        except ValueError:
            continue
        if when.tzinfo is not None and seen.url.startswith("https://"):
            return f"{urlsplit(seen.url).hostname}, by its Date header", when
    return None


CHECKS = (
    Check(
        id="clock.right",
        title="The clock is right",
        proves="This machine's clock agrees with the cloud's, so that no token is from the future or expired here.",
        side="both",
        run=_right,
    ),
)
