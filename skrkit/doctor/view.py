"""What the doctor found as a view, for terminal and notebook alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skrkit.render.view import Step, Steps, View

if TYPE_CHECKING:
    from skrkit.doctor.check import CheckResult, Report, Verdict

_COUNTED: tuple[tuple[Verdict, str], ...] = (
    ("ok", "ok"),
    ("warning", "with a warning"),
    ("failed", "failed"),
    ("not-checked", "not checked"),
    ("skipped", "skipped"),
)


def view_of_report(report: Report) -> View:
    """Return the view of a report: each check with its evidence, for what is not ok the fix, and a last word."""
    counts = [(len(report.with_verdict(verdict)), words) for verdict, words in _COUNTED]
    return View(
        heading=f"{report.title}: {report.where}",
        facts=tuple(f"{number} {words}" for number, words in counts if number),
        blocks=(Steps(steps=tuple(step_of(result) for result in report.results)), *_last_word(report)),
    )


def step_of(result: CheckResult) -> Step:
    """Return one check as a step of a view: its evidence, or in place of the fix of a check that holds nothing."""
    found = result.outcome
    evidence = f"{found.evidence} ({found.cause})" if found.cause else found.evidence
    return Step(id=result.check.id, verdict=found.verdict, detail=evidence, fix=found.fix)


def _last_word(report: Report) -> tuple[str, ...]:
    wrong = report.with_verdict("failed")
    if not wrong:
        return ()
    first = wrong[0]
    words = f"Begin with {first.check.id}: what comes after it may follow from it."
    if report.first_cause:
        words += f" skrkit explain {report.first_cause} says more of the cause."
    return (words,)
