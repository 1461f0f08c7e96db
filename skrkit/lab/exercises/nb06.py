"""Exercises of notebook 06: writing and reading release policies."""

from __future__ import annotations

from skrkit.lab.exercise import Exercise
from skrkit.lab.exercises.nb03 import TEE, asks_exactly

_WANTED = {
    "debugging": (TEE, "x-ms-sevsnpvm-is-debuggable"),
    "Secure Boot": (TEE, "x-ms-runtime", "vm-configuration", "secure-boot"),
}
_VALUES = {"debugging": False, "Secure Boot": True}

EXERCISES = (
    Exercise(
        id="06.policy",
        question="Write a policy that asks that hardware debugging is off and that Secure Boot is on.",
        check=lambda answer: asks_exactly(answer, _WANTED, _VALUES),
        hints=(
            "policy(...).raw.decode() is the text of a policy, if you like to write it with policy().",
            "Each name on the way is a step of the path, with a dot between.",
            "Two conditions in one allOf, one false and one true.",
        ),
        right="Yes: it was held against good and bad tokens, and says yes to the good one only.",
    ),
    Exercise(
        id="06.operator",
        question="Which one operator is documented to work?",
        check=lambda answer: answer.strip().lower() == "equals",
        hints=("Every condition of these notebooks uses it.",),
        right="equals. The grammar lists seven.",
    ),
    Exercise(
        id="06.fault",
        question="Give the JSON pointer of the clause that says no.",
        check=lambda answer: answer.strip() == "/anyOf/0/allOf/1",
        hints=(
            "[(leaf.pointer, leaf.holds) for leaf in answer.leaves()]",
            "Counting begins at 0.",
        ),
        right="azure-compliant-uvm is what containers get; a VM gets azure-compliant-cvm.",
    ),
)
