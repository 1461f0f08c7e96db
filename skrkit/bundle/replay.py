"""A bundle's checks made again, offline and for the time of capture, and held against what the bundle recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from skrkit.bundle.bundle import Bundle
from skrkit.bundle.outcomes import CHECKS, Check, essence, outcomes_of
from skrkit.errors import VerificationError
from skrkit.wire import Json, Span

ReplayVerdict: TypeAlias = Literal["same", "differs", "not-checked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One answer that came out otherwise: what was asked, what the bundle recorded, what is found now."""

    at: str
    recorded: Json
    found: Json

    def to_json(self) -> dict[str, Json]:
        """Return the difference as JSON members."""
        return {"at": self.at, "recorded": self.recorded, "found": self.found}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedCheck:
    """One check: whether it says what the bundle recorded. `outcome` is what it says now, empty if it was not made."""

    name: str
    title: str
    verdict: ReplayVerdict
    detail: str
    outcome: Mapping[str, Json]
    differences: tuple[Difference, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Return the check as JSON members, with its outcome."""
        return {
            "check": self.name,
            "verdict": self.verdict,
            "detail": self.detail,
            "differences": [difference.to_json() for difference in self.differences],
            "outcome": dict(self.outcome),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Every check that the bundle records or allows, made again."""

    kind: ClassVar[str] = "bundle-replay"
    title: ClassVar[str] = "Replay of an evidence bundle"

    checks: tuple[ReplayedCheck, ...]
    captured_at: str
    skrkit: str
    raw: bytes = b""

    @property
    def exit_code(self) -> int:
        """0 if nothing came out otherwise than recorded, else 4."""
        return VerificationError.exit_code if any(check.verdict == "differs" for check in self.checks) else 0

    def fields(self) -> dict[str, Json]:
        """Return the replay as JSON."""
        return {
            "captured_at": self.captured_at,
            "recorded_by": self.skrkit,
            "checks": [check.to_json() for check in self.checks],
        }

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: a replay is not bytes."""
        return ()


def replay(bundle: Bundle) -> Replay:
    """Return each check, made again on the bundle's case at the time of its capture, and how it compares.

    Compared is what decides, verdict by verdict, and not the wording: another version may say it otherwise.
    """
    manifest = bundle.manifest
    now = outcomes_of(bundle.case)
    checks = tuple(
        _replayed(check, bundle.recorded.get(check.name, {}), now.get(check.name, {}), bundle)
        for check in CHECKS
        if check.name in bundle.recorded or check.name in now
    )
    return Replay(checks=checks, captured_at=manifest.captured_at.isoformat(), skrkit=manifest.skrkit)


def _replayed(check: Check, recorded: Mapping[str, Json], outcome: Mapping[str, Json], bundle: Bundle) -> ReplayedCheck:
    why = _not_made(check.name, recorded, outcome, bundle)
    if why:
        return ReplayedCheck(name=check.name, title=check.title, verdict="not-checked", detail=why, outcome={})
    before, after = essence(check.name, recorded), essence(check.name, outcome)
    differences = tuple(
        Difference(at=at, recorded=before.get(at), found=after.get(at))
        for at in dict.fromkeys([*before, *after])
        if before.get(at) != after.get(at)
    )
    detail = f"{len(after)} answer{'s' if len(after) != 1 else ''}, as recorded"
    if differences:
        detail = f"{len(differences)} of {len(after)} answers differ from what was recorded"
    return ReplayedCheck(
        name=check.name,
        title=check.title,
        verdict="differs" if differences else "same",
        detail=detail,
        outcome=outcome,
        differences=differences,
    )


def _not_made(name: str, recorded: Mapping[str, Json], outcome: Mapping[str, Json], bundle: Bundle) -> str:
    """Return why a check could not be made again, or an empty text."""
    if name == "token" and not bundle.case.token:
        return f"the signed token was left out; recorded: {recorded.get('verdict', 'nothing')}"
    if name in ("evidence", "claims") and not bundle.case.evidence:
        return "the raw evidence was left out; what was recorded stands in the bundle"
    if not recorded:
        return "nothing was recorded to compare with"
    return "" if outcome else "what it looks at is not in the bundle"
