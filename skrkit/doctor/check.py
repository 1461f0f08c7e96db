"""One check of the doctor, what it says, and the runner that makes checks in order. No check knows of another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from skrkit.errors import SkrkitError, VerificationError
from skrkit.wire import Json, Span

if TYPE_CHECKING:
    from skrkit.doctor.visit import Visit

Verdict: TypeAlias = Literal["ok", "failed", "warning", "skipped", "not-checked"]
Side: TypeAlias = Literal["inside", "outside", "both"]
NETWORK_LIMIT_S = 20.0  # for one check: an attestation takes half a second, a timeout of a connection ten
_BUG = "This is a bug in skrkit: report it with this line."
NO_FACTS: Mapping[str, Json] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one check found.

    "ok": it holds. "warning": it holds, and something is odd. "failed": it does not hold. "skipped": it was not to be
    made, and `evidence` says why. "not-checked": it was to be made, and cannot be told from here. `evidence` is a
    sentence or two, `facts` the same for a program, `fix` a command or a sentence. `cause` is the id of the cause in
    the catalogue that this is evidence for.
    """

    verdict: Verdict
    evidence: str
    facts: Mapping[str, Json] = field(default_factory=dict)
    fix: str = ""
    cause: str = ""


def ok(evidence: str, facts: Mapping[str, Json] = NO_FACTS) -> Outcome:
    """Return that the check holds."""
    return Outcome(verdict="ok", evidence=evidence, facts=facts)


def warning(evidence: str, facts: Mapping[str, Json] = NO_FACTS, *, fix: str = "", cause: str = "") -> Outcome:
    """Return that the check holds, with something that a person should know."""
    return Outcome(verdict="warning", evidence=evidence, fix=fix, cause=cause, facts=facts)


def failed(evidence: str, facts: Mapping[str, Json] = NO_FACTS, *, fix: str = "", cause: str = "") -> Outcome:
    """Return that the check does not hold. Without a `fix` the catalogue's own is taken, by the cause."""
    return Outcome(verdict="failed", evidence=evidence, fix=fix, cause=cause, facts=facts)


def skipped(why: str) -> Outcome:
    """Return that the check was not to be made."""
    return Outcome(verdict="skipped", evidence=why)


def not_checked(why: str, facts: Mapping[str, Json] = NO_FACTS, *, fix: str = "") -> Outcome:
    """Return that the check cannot be told from here."""
    return Outcome(verdict="not-checked", evidence=why, fix=fix, facts=facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. `id` is stable; `proves` says in a sentence what an ok means.

    `needs` are the ids of checks without which this one means nothing. `limit_s` bounds a check that asks the network;
    0 for one that does not. A check that raises one of the six errors has failed with it.
    """

    id: str
    title: str
    proves: str
    side: Side
    run: Callable[[Visit], Outcome] = field(repr=False)
    needs: tuple[str, ...] = ()
    limit_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """A check, and what it found."""

    check: Check
    outcome: Outcome

    def to_json(self) -> dict[str, Json]:
        """Return id, verdict, proves, evidence and fix; `cause` and `facts` only where there are any."""
        found = self.outcome
        members: dict[str, Json] = {
            "id": self.check.id,
            "verdict": found.verdict,
            "proves": self.check.proves,
            "evidence": found.evidence,
            "fix": found.fix,
        }
        if found.cause:
            members["cause"] = found.cause
        if found.facts:
            members["facts"] = dict(found.facts)
        return members


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the doctor found: every check in order. `where` says which place was looked at."""

    kind: ClassVar[str] = "doctor-report"
    title: ClassVar[str] = "Doctor's report"

    results: tuple[CheckResult, ...]
    where: str
    raw: bytes = field(default=b"", repr=False)

    def fields(self) -> dict[str, Json]:
        """Return the report as JSON: one member, `checks`."""
        return {"checks": [result.to_json() for result in self.results]}

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: a report is not bytes."""
        return ()

    def result(self, check_id: str) -> CheckResult | None:
        """Return what a check found, or None if it was not part of this visit."""
        return next((result for result in self.results if result.check.id == check_id), None)

    def with_verdict(self, verdict: Verdict) -> tuple[CheckResult, ...]:
        """Return the checks of one verdict, in order."""
        return tuple(result for result in self.results if result.outcome.verdict == verdict)

    @property
    def first_cause(self) -> str:
        """The cause that the first failed check with one is evidence for; empty where there is none."""
        causes = [result.outcome.cause for result in self.with_verdict("failed")]
        return next((cause for cause in causes if cause), "")

    @property
    def exit_code(self) -> int:
        """0 if no check failed and none was left unchecked, else 4."""
        bad = self.with_verdict("failed") or self.with_verdict("not-checked")
        return VerificationError.exit_code if bad else 0


Progress: TypeAlias = Callable[[Check, "CheckResult | None"], None]
"""Called before a check is made, without a result, and after it with one."""


def run_checks(checks: Sequence[Check], visit: Visit, progress: Progress | None = None) -> tuple[CheckResult, ...]:
    """Return what each check found, in order.

    A check that needs one that failed, was skipped or cannot be told is skipped and says so; one that is not part of
    this run is not waited for. A check that breaks is that check's failure, and the others go on. Ctrl-C goes through.
    """
    results: dict[str, CheckResult] = {}
    for check in checks:
        if progress is not None:
            progress(check, None)
        blocked = _blocked(check, results)
        outcome = skipped(blocked) if blocked else _made(check, visit)
        results[check.id] = CheckResult(check=check, outcome=visit.with_remedy(outcome))
        if progress is not None:
            progress(check, results[check.id])
    return tuple(results.values())


def _blocked(check: Check, results: Mapping[str, CheckResult]) -> str:
    words = {"failed": "failed", "skipped": "was skipped", "not-checked": "could not be checked"}
    for needed in check.needs:
        found = results.get(needed)
        if found is not None and found.outcome.verdict in words:
            return f"{needed} {words[found.outcome.verdict]}, and this depends on it"
    return ""


def _made(check: Check, visit: Visit) -> Outcome:
    if not check.limit_s:
        return _guarded(check, visit)
    # A name that does not resolve and a server that sends a byte a second are bounded by no socket's timeout.
    box: list[Outcome] = []
    heard = len(visit.exchanges)
    worker = threading.Thread(target=lambda: box.append(_guarded(check, visit)), name=check.id, daemon=True)
    worker.start()
    worker.join(check.limit_s)
    return box[0] if box else visit.too_slow(check, heard)


def _guarded(check: Check, visit: Visit) -> Outcome:
    heard = len(visit.exchanges)
    try:
        return check.run(visit)
    except SkrkitError as error:
        return _failed_with(error, visit, heard)
    except Exception as broken:  # noqa: BLE001 - a check that breaks says so, and the others go on
        return failed(f"The check itself broke: {_place_of(broken)}.", fix=_BUG)


def _failed_with(error: SkrkitError, visit: Visit, heard: int) -> Outcome:
    """Return the failure that an error is, with the cause that the diagnosis names, if that does not break."""
    try:
        return visit.failed_by(error, heard)
    except Exception as broken:  # noqa: BLE001 - the failure is told all the same, in the error's own words
        said = f"{error.what} at {error.where}: expected {error.expected}, found {error.found.rstrip('.')}."
        return failed(f"{said} (The search for its cause broke: {_place_of(broken)}. {_BUG})", fix=error.fix)


def _place_of(broken: Exception) -> str:
    import os
    import traceback

    place = traceback.extract_tb(broken.__traceback__)[-1]
    return f"{type(broken).__name__} at {os.path.basename(place.filename)}, line {place.lineno}"
