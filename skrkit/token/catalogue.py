"""The claims catalogue: what each claim of an attestation token means, and the evidence it is computed from."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from skrkit.token.claim_fact import ClaimFact
from skrkit.token.claims_common import COMMON
from skrkit.token.claims_guest import GUEST
from skrkit.token.claims_runtime import RUNTIME
from skrkit.token.claims_snp import SNP
from skrkit.token.claims_tdx import TDX

TEE = "x-ms-isolation-tee"
_GUEST_ONLY = frozenset(fact.path for fact in GUEST)


@cache
def _facts() -> dict[str, ClaimFact]:
    return {fact.path: fact for fact in catalogue()}


def catalogue() -> Iterator[ClaimFact]:
    """Return every known claim: those of every token, SNP, runtime, guest, TDX, in this order.

    SNP, runtime, TDX and common claims stand at the top of a platform token and below x-ms-isolation-tee in a guest's.
    """
    for table in (COMMON, SNP, RUNTIME, GUEST, TDX):
        yield from table


def explain_claim(path: str) -> ClaimFact | None:
    """Return what is known of a claim, or None: an unknown claim is shown, and never trusted.

    `path` has dots between names, as in a release policy, or is a JSON pointer into the claims; places in arrays
    (`/x-ms-runtime/keys/0/kid`) are left out. A claim below `x-ms-isolation-tee` is looked up by what follows.
    Source: Azure Attestation, claim sets.
    """
    steps = [_unescaped(step) for step in path.split("/")[1:]] if path.startswith("/") else path.split(".")
    names = [step for step in steps if not step.isdigit()]
    if names and names[0] == TEE and len(names) > 1:
        names = names[1:]
        if names[0] in _GUEST_ONLY:
            return None
    facts = _facts()
    return facts.get(".".join(names)) or facts.get(".".join((*names[:-1], "*")))


def _unescaped(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")
