"""Exercises of notebook 08: what a subscription needs, and what it keeps."""

from __future__ import annotations

from skrkit.lab.exercise import Exercise

EXERCISES = (
    Exercise(
        id="08.where",
        question="On which side must step 4 run: inside or outside the VM?",
        check=lambda answer: answer.strip().lower() == "inside",
        hints=("Where is the vTPM?",),
        right="Inside: the vTPM and IMDS are nowhere else.",
    ),
    Exercise(
        id="08.sku",
        question="Which SKU must the vault have?",
        check=lambda answer: answer.strip().lower() == "premium",
        hints=("Only HSM keys can be exportable.", "Look at the option --sku."),
        right="Premium: standard vaults have no HSM keys.",
    ),
    Exercise(
        id="08.fault",
        question="Which command is missing from the teardown?",
        check=lambda answer: " ".join(answer.lower().split()[:3]) == "az keyvault purge",
        hints=("The vault is deleted, and yet it is still there for 90 days.", "az keyvault and one word: to clean."),
        right="az keyvault purge. Or recover the old vault, if you want its keys back.",
    ),
)
