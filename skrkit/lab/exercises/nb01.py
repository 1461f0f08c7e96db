"""Exercises of notebook 01: the claims of an access token."""

from __future__ import annotations

from skrkit.lab.exercise import Exercise

LIFETIME_S = 86_400  # a managed identity's token lives for a day

EXERCISES = (
    Exercise(
        id="01.claim",
        question="Which claim of the access token does Key Vault compare with its grants?",
        check=lambda answer: (
            "That is the application's id, which no grant names."
            if answer.strip().lower() == "appid"
            else answer.strip().lower() == "oid"
        ),
        hints=(
            "A grant names an object id.",
            "Which claim has the same value as identity.principalId?",
            "Three letters: the o is for object.",
        ),
        right="oid. Step 2 grants access to this id.",
    ),
    Exercise(
        id="01.lifetime",
        question="How long does the access token live, in seconds?",
        check=lambda answer: not isinstance(answer, bool) and int(answer) == LIFETIME_S,
        hints=(
            "exp is when it ends, iat when it was issued. Both count seconds.",
            'decoded.claims["exp"] - decoded.claims["iat"]',
        ),
        right="A day. Whoever steals the token is the VM for that long; nothing takes it back.",
    ),
    Exercise(
        id="01.fault",
        question="Which claim of the faulty token is not what the vault needs?",
        check=lambda answer: answer.strip().lower() == "aud",
        hints=(
            "401 says that the vault does not accept the token at all.",
            "Read its message: what did it expect, what did it find?",
            "The claim that says whom a token is for.",
        ),
        right="aud, the audience. The token was made for Resource Manager, and the vault is not Resource Manager.",
    ),
)
