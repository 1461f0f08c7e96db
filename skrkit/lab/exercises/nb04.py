"""Exercises of notebook 04: the binding of claims and report, and who can open the answer."""

from __future__ import annotations

from typing import Any

from skrkit.lab.exercise import Exercise

REPORT_DATA_OFFSET = 0x50  # SNP ABI, ATTESTATION_REPORT


def number(answer: Any) -> int:
    """Return an answer as a number: 80, "80" and "0x50" are the same. Raises `ValueError` for anything else."""
    if isinstance(answer, bool | float):
        raise ValueError("a whole number is asked for")
    return answer if isinstance(answer, int) else int(answer, 0)


EXERCISES = (
    Exercise(
        id="04.offset",
        question="At which offset in the SNP report does REPORT_DATA begin?",
        check=lambda answer: (
            "That is its place in the HCL report: take off 32 bytes of header."
            if number(answer) == REPORT_DATA_OFFSET + 0x20
            else number(answer) == REPORT_DATA_OFFSET
        ),
        hints=(
            "In the SNP report, not in the HCL report that is wrapped around it.",
            "[(span.name, hex(span.offset)) for span in report.spans()]",
        ),
        right="0x50, and it has 64 bytes. 32 of them are the hash of the runtime claims.",
    ),
    Exercise(
        id="04.kid",
        question="To which key did Key Vault wrap? Give its kid.",
        check=lambda answer: answer.strip() == "TpmEphemeralEncryptionKey",
        hints=(
            "It is not a key of the vault.",
            "response.key_hsm.kid",
        ),
        right="TpmEphemeralEncryptionKey: the key that was born in this vTPM, and cannot leave it.",
    ),
    Exercise(
        id="04.fault",
        question="Which step says that the claims were edited?",
        check=lambda answer: answer.strip() == "hcl.report_data_eq_hash_of_variable_data",
        hints=(
            "What ties the JSON to the chip's report?",
            "The step's name has both sides of a comparison: report_data, and a hash.",
        ),
        right="The hash in REPORT_DATA is no longer that of the claims; the chip never signed these.",
    ),
)
