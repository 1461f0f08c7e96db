"""What a verification says: its steps, its verdict, and the record that it keeps on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from skrkit.attestation.steps import STEPS
from skrkit.errors import ParseError, SkrkitError, VerificationError
from skrkit.evidence.snp import SnpReport
from skrkit.wire import Json, Span

StepVerdict: TypeAlias = Literal["ok", "failed", "not-checked"]
Verdict: TypeAlias = Literal["verified", "failed", "incomplete", "tdx-report", "unknown-version", "wrong-kind"]


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step: its stable id, its verdict, what was seen, and for a failed step the error with its fix."""

    id: str
    verdict: StepVerdict
    detail: str = ""
    error: SkrkitError | None = None

    def to_json(self) -> dict[str, Json]:
        """Return the step as JSON members; `error` only where it failed."""
        members: dict[str, Json] = {"id": self.id, "verdict": self.verdict, "detail": self.detail}
        if self.error is not None:
            members["error"] = dict(self.error.to_json())
        return members


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationResult:
    """The local verifier's result. `verdict` is "verified" only if every step of the run is ok.

    "incomplete": nothing failed, but a step could not be checked for lack of collateral. "tdx-report",
    "unknown-version" and "wrong-kind": this is not evidence that the verifier knows. `root` is the name of the trust
    roots that were used ("AMD", "sandbox"). `notes` say what this run does not show, and facts that decide nothing.
    `report` is None where it did not parse.
    """

    kind: ClassVar[str] = "attestation-result"
    title: ClassVar[str] = "Local attestation result"

    steps: tuple[StepResult, ...]
    verdict: Verdict
    report: SnpReport | None
    root: str
    notes: tuple[str, ...] = ()
    raw: bytes = field(default=b"", repr=False)

    @property
    def failed(self) -> tuple[StepResult, ...]:
        """The steps that failed, in order."""
        return tuple(step for step in self.steps if step.verdict == "failed")

    @property
    def not_checked(self) -> tuple[StepResult, ...]:
        """The steps that could not be checked, in order."""
        return tuple(step for step in self.steps if step.verdict == "not-checked")

    @property
    def exit_code(self) -> int:
        """0 verified; 3 if the first failure is bytes that do not parse; 4 for any other verdict."""
        if self.verdict == "verified":
            return 0
        first = next((step.error for step in self.failed), None)
        return ParseError.exit_code if isinstance(first, ParseError) else VerificationError.exit_code

    def step(self, step_id: str) -> StepResult | None:
        """Return the step of that id, or None if it was not part of this run."""
        return next((step for step in self.steps if step.id == step_id), None)

    def raise_for_failure(self) -> None:
        """Return nothing if verified. Raises the first failed step's error, or one for a step that was not checked."""
        if self.verdict == "verified":
            return
        for step in self.failed:
            if step.error is not None:
                raise step.error
        missing = self.not_checked[0]
        raise VerificationError(
            what=STEPS[missing.id],
            where="the evidence given",
            expected="everything that the step needs",
            found=missing.detail,
            fix="Give what is missing.",
            step=missing.id,
        )

    def fields(self) -> dict[str, Json]:
        """Return verdict, root, steps and notes as JSON; the report is an artefact of its own."""
        return {
            "verdict": self.verdict,
            "root": self.root,
            "failed": [step.id for step in self.failed],
            "not_checked": [step.id for step in self.not_checked],
            "steps": [step.to_json() for step in self.steps],
            "notes": list(self.notes),
        }

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: a result is not bytes."""
        return ()


class Run:
    """The record of one verification. Steps are added in order; a failed one carries its error."""

    def __init__(self) -> None:
        self.steps: list[StepResult] = []
        self.notes: list[str] = []
        self.verdict: Verdict | None = None
        self._failed: set[str] = set()

    def ok(self, step: str, detail: str = "") -> None:
        """Add a step that holds."""
        self.steps.append(StepResult(step, "ok", detail))

    def skip(self, step: str, why: str) -> None:
        """Add a step that could not be checked, and say why."""
        self.steps.append(StepResult(step, "not-checked", why))

    def skip_all(self, steps: tuple[str, ...], why: str) -> None:
        """Add steps that could not be checked for one reason."""
        for step in steps:
            self.skip(step, why)

    def error(self, step: str, error: SkrkitError) -> None:
        """Add a step that failed, with the error as raised."""
        self._failed.add(step)
        self.steps.append(StepResult(step, "failed", f"expected {error.expected}, found {error.found}", error))

    def fail(self, step: str, *, where: str, expected: str, found: str, fix: str, source: str = "") -> None:
        """Add a step that failed, in words. The step's title is what the error is about."""
        self.error(
            step,
            VerificationError(
                what=STEPS[step], where=where, expected=expected, found=found, fix=fix, source=source, step=step
            ),
        )

    def check(
        self,
        step: str,
        holds: bool,
        *,
        where: str,
        expected: str | Callable[[], str],
        found: str | Callable[[], str],
        fix: str,
        detail: str = "",
    ) -> bool:
        """Add a step, ok with `detail` or failed with the words. Return whether it holds.

        Words that take work are given as functions: almost every step holds, and they are called only if one does not.
        """
        if holds:
            self.steps.append(StepResult(step, "ok", detail))
            return True
        self.fail(
            step,
            where=where,
            expected=expected if isinstance(expected, str) else expected(),
            found=found if isinstance(found, str) else found(),
            fix=fix,
        )
        return False

    def first_failed(self, steps: Mapping[str, object] | tuple[str, ...]) -> str | None:
        """Return the first of these steps that failed, or None."""
        return next((step for step in steps if step in self._failed), None)

    def result(self, *, report: SnpReport | None, root: str, raw: bytes) -> AttestationResult:
        """Return the result: the special verdict if one was set, else what the steps amount to."""
        verdict: Verdict = self.verdict or "verified"
        if verdict == "verified":
            found = {step.verdict for step in self.steps}
            if "failed" in found:
                verdict = "failed"
            elif "not-checked" in found or not self.steps:
                verdict = "incomplete"
        return AttestationResult(
            steps=tuple(self.steps), verdict=verdict, report=report, root=root, notes=tuple(self.notes), raw=raw
        )
