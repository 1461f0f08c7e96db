"""Exercises of notebook 05: the layout of the SNP report, and where evidence was changed."""

from __future__ import annotations

from skrkit.lab.exercise import Exercise
from skrkit.lab.exercises.nb04 import number

SIGNED_BYTES = 0x2A0  # SNP ABI, ATTESTATION_REPORT: the signature covers 0x000 to 0x29F
MEASUREMENT_BYTES = 48

EXERCISES = (
    Exercise(
        id="05.signed",
        question="How many bytes of the SNP report are covered by the chip's signature?",
        check=lambda answer: (
            "That is all of it; a signature cannot cover itself."
            if number(answer) == 1184
            else number(answer) == SIGNED_BYTES
        ),
        hints=("Look at the slice in the cell that verified it.", "0x2A0, or len(report.signed)"),
        right="0x2A0, which is 672. The signature follows.",
    ),
    Exercise(
        id="05.measurement",
        question="How many bytes long is MEASUREMENT?",
        check=lambda answer: number(answer) == MEASUREMENT_BYTES,
        hints=("It is a SHA-384.", "len(report.measurement)"),
        right="48: a SHA-384 of what the VM started with.",
    ),
    Exercise(
        id="05.fault",
        question="Which of the three was changed: quote, pcrs or event log?",
        check=lambda answer: (
            answer.strip().lower().replace("-", " ").replace("_", " ") in ("event log", "eventlog", "log")
        ),
        hints=(
            "If the quote were changed, its signature would fail.",
            "If the PCR values were changed, the quote's digest would not be theirs.",
        ),
        right="The event log: quote and PCR values agree with each other, and the log with neither.",
    ),
)
