"""Where the sandbox takes its randomness and its time from: this computer, or for a lesson a seed and a clock.

A seeded sandbox makes the same tenant, keys and identifiers each time it is made, so that a lesson can be written down
with its outputs. Whoever knows the seed knows every key: it is for lessons and for nothing else, and `status` says so.

What is drawn depends on the seed, on a label that says what it is for, on how often that label was drawn from, and on
how often the sandbox was started; not on which thread comes first. The clock stands still: one that went on with each
call would depend on the order of threads, and on how often a client polls.

One process is one sandbox, so chance is the process's: whoever draws need not be handed it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from skrkit.errors import UsageError

if TYPE_CHECKING:
    from skrkit.sandbox.store import Store

SEED_VARIABLE = "SKRKIT_SEED"
CLOCK_VARIABLE = "SKRKIT_CLOCK"
MAX_SEED_CHARACTERS = 200
FIRST_INSTANT, LAST_INSTANT = datetime(2001, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
SPAN = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2099, 12, 31, tzinfo=UTC))
"""When the TLS authorities of a sandbox with a clock of its own are valid: by that clock, and by this computer's."""

KIND, KEY = "settings", "chance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a sandbox is made with. `seed` is any text, `clock` an aware time in UTC; None is this computer's own."""

    seed: str | None = None
    clock: datetime | None = None

    @property
    def clock_text(self) -> str:
        """The clock as RFC 3339 text, "" for none."""
        return "" if self.clock is None else self.clock.isoformat().replace("+00:00", "Z")


def asked(seed: str | None = None, clock: str | None = None, *, environment: Mapping[str, str] = os.environ) -> Asked:
    """Return what is asked for, by argument or else by SKRKIT_SEED and SKRKIT_CLOCK; an empty text asks for nothing.

    Raises `UsageError` for a seed that is too long or does not print, and for a clock that is no RFC 3339 instant of
    this century.
    """
    seed = environment.get(SEED_VARIABLE, "") if seed is None else seed
    clock = environment.get(CLOCK_VARIABLE, "") if clock is None else clock
    if len(seed) > MAX_SEED_CHARACTERS or not seed.isprintable():
        raise UsageError(
            what="seed of the sandbox",
            where=SEED_VARIABLE,
            expected=f"at most {MAX_SEED_CHARACTERS} characters that print",
            found=f"{len(seed)} characters: {seed[:20]!r}",
            fix=f"{SEED_VARIABLE}=lesson skrkit sandbox up",
        )
    return Asked(seed=seed or None, clock=_instant(clock) if clock else None)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None or not FIRST_INSTANT <= instant <= LAST_INSTANT:
        raise UsageError(
            what="clock of the sandbox",
            where=CLOCK_VARIABLE,
            expected=f"an instant with its offset from UTC, {FIRST_INSTANT.year} to {LAST_INSTANT.year - 1}",
            found=repr(text[:40]),
            fix=f"{CLOCK_VARIABLE}=2026-01-01T12:00:00Z skrkit sandbox up",
            source="RFC 3339 section 5.6",
        )
    return instant.astimezone(UTC)


@dataclass(slots=True, kw_only=True)
class Chance:
    """Random bytes and the time. `epoch` is who draws, and how often it was started. Safe from several threads."""

    asked: Asked = Asked()
    epoch: str = ""
    _drawn: Counter[str] = field(default_factory=Counter, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def token_bytes(self, label: str, size: int) -> bytes:
        """Return `size` random bytes: the system's, or the next of the seed for this label."""
        if self.asked.seed is None:
            return os.urandom(size)
        with self._lock:
            self._drawn[label] += 1
            place = self._drawn[label]
        drawn = hmac.digest(self.asked.seed.encode(), f"{self.epoch}\0{label}\0{place}".encode(), "sha256")
        return hashlib.shake_256(drawn).digest(size)

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return self.asked.clock or datetime.now(UTC)


_chance = Chance()


def settle(store: Store, wanted: Asked) -> Asked:
    """Return what this process's sandbox was made with, once it is what everything here draws from.

    A new sandbox is made with `wanted`, and its store remembers. Raises `UsageError` when it was made with something
    else than is wanted; to want nothing goes with everything.
    """
    global _chance
    with store.transaction():
        document = store.get(KIND, KEY)
        if document is None:
            fresh = store.get("settings", "cast") is None  # else of a version that knew no seed
            made = wanted if fresh else Asked()
            document = {"seed": made.seed, "clock": made.clock_text, "starts": 0}
        made = Asked(
            seed=document["seed"], clock=datetime.fromisoformat(document["clock"]) if document["clock"] else None
        )
        refuse_other(made, wanted, str(store.path))
        if made.seed is not None or document["starts"] == 0:  # without a seed no start is like another anyway
            document["starts"] += 1
            store.put(KIND, KEY, document)
    _chance = Chance(asked=made, epoch=f"sandbox {document['starts']}")
    return made


def refuse_other(made: Asked, wanted: Asked, where: str) -> None:
    """Raise `UsageError` if a sandbox was made with another seed or clock than is wanted."""
    pairs = (
        ("seed", "--seed", made.seed, wanted.seed),
        ("clock", "--clock", made.clock_text or None, wanted.clock_text or None),
    )
    for what, option, has, wants in pairs:
        if wants is not None and wants != has:
            raise UsageError(
                what=f"{what} of the sandbox",
                where=where,
                expected=f"{has!r}, which it was made with" if has else f"no {option}: it was made without a {what}",
                found=repr(wants),
                fix=f"skrkit sandbox reset --yes   and then up with {option}, or leave {option} out",
            )


def seeded() -> bool:
    """Return whether randomness comes from a seed."""
    return _chance.asked.seed is not None


def has_clock() -> bool:
    """Return whether time stands still."""
    return _chance.asked.clock is not None


def token_bytes(label: str, size: int) -> bytes:
    """Return `size` random bytes for what the label says."""
    return _chance.token_bytes(label, size)


def uuid4(label: str) -> str:
    """Return a random GUID in lower case for what the label says (RFC 9562 section 5.4)."""
    return str(uuid.UUID(bytes=_chance.token_bytes(label, 16), version=4))


def utc_now() -> datetime:
    """Return the time by the sandbox's clock, aware, in UTC."""
    return _chance.now()


def monotonic() -> float:
    """Return seconds that only grow, from an arbitrary start; always 0 by a clock that stands still."""
    return 0.0 if has_clock() else time.monotonic()
