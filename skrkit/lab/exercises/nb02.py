"""Exercises of notebook 02: the grant, and nothing more."""

from __future__ import annotations

from skrkit.lab.exercise import Exercise

EXERCISES = (
    Exercise(
        id="02.permission",
        question="Which one permission does the VM need on keys?",
        check=lambda answer: answer.strip().lower() == "release",
        hints=(
            "It is not get: that gives the public half only.",
            "What did policy_for() get as its argument?",
        ),
        right="release, and nothing more.",
    ),
    Exercise(
        id="02.kind",
        question="Which AccessPolicyUpdateKind keeps the grants of others: ADD or REPLACE?",
        check=lambda answer: str(getattr(answer, "value", answer)).strip().lower() == "add",
        hints=("One of them merges.", "The other one throws the operator out."),
        right="ADD merges. REPLACE leaves only what the request names.",
    ),
    Exercise(
        id="02.fault",
        question="Which member of the grant is wrong?",
        check=lambda answer: answer.strip().lower() == "objectid",
        hints=(
            "Which of the two ids of the token stands in the grant?",
            "The vault looks for oid. Where in the grant should that stand?",
        ),
        right="objectId: it has the application's id. Nothing complains, and nobody gets in.",
    ),
)
