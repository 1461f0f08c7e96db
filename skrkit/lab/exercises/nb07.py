"""Exercises of notebook 07: from a refusal to its reason."""

from __future__ import annotations

from skrkit.lab.exercise import Exercise

EXERCISES = (
    Exercise(
        id="07.permission",
        question="The vault says that somebody has no `release` permission. Which step of the four puts that right?",
        check=lambda answer: int(answer) == 2,
        hints=("Step 1 is who, step 3 is the key, step 4 is the proof.",),
        right="Step 2, the grant. No attestation was looked at yet.",
    ),
    Exercise(
        id="07.token",
        question="One character of the token was changed. Does the vault say `policy` or `verified`?",
        check=lambda answer: answer.strip().lower() in ("verified", "verify", "cannot be verified"),
        hints=(
            "Can a policy be held against claims that nobody signed?",
            "Run the cell with the changed token again, and read the last words.",
        ),
        right="It cannot be verified. The claims are not looked at before the signature holds.",
    ),
    Exercise(
        id="07.fault",
        question="Which clause made the vault refuse? Give the claim's last name.",
        check=lambda answer: answer.strip().split(".")[-1] == "console-enabled",
        hints=(
            "Hold the same policy against the same token here: evaluate(faulty, token).",
            "[(leaf.claim, leaf.expected, leaf.found) for leaf in evaluate(faulty, token).leaves()]",
        ),
        right="console-enabled: the VM has a serial console, and the policy asks for none.",
    ),
)
