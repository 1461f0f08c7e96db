"""Exercises of notebook 03: the vault's codes, and a release policy of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skrkit.lab.exercise import Exercise

AUTHORITY = "https://sharedweu.weu.attest.azure.net"
ELSEWHERE = "https://sharedeus.eus.attest.azure.net"
TEE = "x-ms-isolation-tee"


def asks_exactly(answer: Any, wanted: Mapping[str, Sequence[str]], values: Mapping[str, Any]) -> bool | str:
    """Return True if a policy says yes to exactly the tokens that have the wanted claims, else what is wrong.

    `wanted` maps a name for people to a claim's path; `values` maps the same name to its value. The policy is judged
    by what it does: held against a good token, one without each claim, one with another value, and another issuer's.
    """
    from skrkit.errors import PolicyError
    from skrkit.policy.evaluate import evaluate
    from skrkit.policy.parse import parse_policy

    try:
        policy = parse_policy(answer)
    except PolicyError as error:
        return f"Not a policy yet: {error.what} at {error.where}: expected {error.expected}, found {error.found}."
    if not evaluate(policy, _claims(wanted, values)).holds:
        return "It says no to a token that has all of this. Look at the authority, the paths and the values."
    if evaluate(policy, _claims(wanted, values, issuer=ELSEWHERE)).holds:
        return "It says yes to a token of another provider."
    for name in wanted:
        if evaluate(policy, _claims(wanted, {**values, name: "something else"})).holds:
            return f"It says yes although {name} has another value."
    return True


def _claims(wanted: Mapping[str, Sequence[str]], values: Mapping[str, Any], issuer: str = AUTHORITY) -> dict[str, Any]:
    claims: dict[str, Any] = {"iss": issuer}
    for name, path in wanted.items():
        level = claims
        for step in path[:-1]:
            level = level.setdefault(step, {})
        level[path[-1]] = values[name]
    return claims


_WANTED = {
    "the attestation type": (TEE, "x-ms-attestation-type"),
    "debugging": (TEE, "x-ms-sevsnpvm-is-debuggable"),
}
_VALUES = {"the attestation type": "sevsnpvm", "debugging": False}

EXERCISES = (
    Exercise(
        id="03.code",
        question="Which code does the vault give to an exportable key that is not in an HSM?",
        check=lambda answer: answer.strip().upper().removeprefix("AKV.SKR.") == "1006",
        hints=(
            "There were two refusals: without a policy, and in software.",
            "Run the cell with the key named in-software, and read the code in its message.",
        ),
        right="AKV.SKR.1006. 1004 is the other one: exportable, and no policy.",
    ),
    Exercise(
        id="03.policy",
        question="Write a policy that asks for the attestation type sevsnpvm and that debugging is off.",
        check=lambda answer: asks_exactly(answer, _WANTED, _VALUES),
        hints=(
            "Begin with TEXT from above, and change the second condition.",
            "Both conditions belong into one allOf; anyOf would be content with one of them.",
            'The value of a boolean claim may be written false, or "false".',
        ),
        right="Yes: it was held against good and bad tokens, and says yes to the good one only.",
    ),
    Exercise(
        id="03.fault",
        question="Which Python type should KeyReleasePolicy have been given?",
        check=lambda answer: answer is bytes or answer.strip().lower() == "bytes",
        hints=(
            "Compare the call with the one that made the key only-with-secure-boot.",
            "What does .decode() do to policy.raw?",
        ),
        right="bytes. A str is taken without a word, and what arrives is no policy.",
    ),
)
