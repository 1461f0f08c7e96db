"""Exercises of notebook 00: the cast, and where IMDS answers."""

from __future__ import annotations

from skrkit.lab.exercise import Exercise

EXERCISES = (
    Exercise(
        id="00.verifier",
        question="Which member of the cast is the verifier? Write its short name, as in the table.",
        check=lambda answer: answer.strip().lower() in ("maa", "azure attestation", "microsoft azure attestation"),
        hints=(
            "A verifier looks at evidence and says what it found. It holds no key.",
            "The role stands in italics in the table of the cast.",
            "Its name begins with an M, and it signs the attestation token.",
        ),
        right="MAA, Azure Attestation. Key Vault relies on what it says, and AMD endorses the chip.",
    ),
    Exercise(
        id="00.imds",
        question="From where does IMDS answer: inside or outside the VM?",
        check=lambda answer: answer.strip().lower() == "inside",
        hints=("Look at the two cells that called fetch_instance.", "Which of them got the VM's name?"),
        right="Inside. That one must be inside is all the protection it has.",
    ),
    Exercise(
        id="00.fault",
        question="Which name should cloud.enter() have been given?",
        check=lambda answer: answer.strip() == "cvm-1",
        hints=(
            "Read the error's line `expected`.",
            "world.stage.vm has the name as well.",
        ),
        right="cvm-1. An error here always says what was expected, what was found, and what to try.",
    ),
)
