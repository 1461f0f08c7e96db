"""What the vault says of the attestation: "cannot be verified" is the token's leg, "does not meet" the policy's."""

from __future__ import annotations

from collections.abc import Iterator

from skrkit.diagnosis.finding import Finding
from skrkit.diagnosis.reading import Reading

CANNOT_VERIFY = "attestation statement cannot be verified"
DOES_NOT_MEET = "does not meet key release policy"
_COMPLIANCE = "x-ms-compliance-status"


def recognise(reading: Reading) -> Iterator[Finding]:
    """Return why the vault does not take the token, or why its policy says no to it."""
    words = reading.refusal.words
    if CANNOT_VERIFY in words:
        yield from _cannot_verify(reading)
    elif DOES_NOT_MEET in words:
        yield from _does_not_meet(reading)


def _cannot_verify(reading: Reading) -> Iterator[Finding]:
    """Return what is wrong with the token; where nothing is, what the vault may have had to itself."""
    from skrkit.diagnosis.explain_token import shown_by_token

    found = list(shown_by_token(reading))
    yield from found
    if any(finding.certainty == "proved" for finding in found):
        return
    good = bool(reading.case.token and reading.case.jwks) or reading.case.token_verdict.get("verdict") == "ok"
    said = "a token that verifies here" if good else "a token that is not at hand"
    hsm = reading.refusal.service == "hsm"
    causes: tuple[str, ...] = ("token.hsm-defect",) if hsm else ()
    if good:
        causes = ("token.vault-hiccup", *causes, "token.authority-unreachable")
    else:
        causes = ("token.expired", "token.other-authority", "token.signing-key-rotated", *causes)
        causes += ("token.no-transfer-key", "token.authority-unreachable", "token.vault-hiccup")
    for number, cause in enumerate(causes):
        likely = good and number == 0
        yield reading.find(
            cause, "likely" if likely else "possible", expected="a token that can be verified", found=said
        )


def _does_not_meet(reading: Reading) -> Iterator[Finding]:
    """Return what the policy says no to, and the reason in the machine, where its evidence shows one.

    The machine comes first where the clause is about the compliance status, which Azure Attestation leaves out for a
    machine that is not in order; what else a policy asks is met or not for its own reason.
    """
    from skrkit.diagnosis.explain_evidence import rollback, shown_by_evidence
    from skrkit.diagnosis.explain_policy import shown_by_policy

    machine, policy = list(shown_by_evidence(reading)), list(shown_by_policy(reading))
    leaves = reading.decision.leaves() if reading.decision is not None else ()
    lacks_status = any(not leaf.present and leaf.claim.endswith(_COMPLIANCE) for leaf in leaves)
    if lacks_status:
        machine += rollback(reading, "proved")
    yield from (*machine, *policy) if lacks_status or reading.decision is None else (*policy, *machine)
