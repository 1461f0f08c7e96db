"""How a Managed HSM words its refusals."""

from __future__ import annotations

import re

from skrkit.sandbox.web import AzureError

_NUMBERED = re.compile(r"AKV\.SKR\.\d+: ")


def in_own_words(refusal: AzureError, activity: str) -> AzureError:
    """Return a refusal as a Managed HSM writes it: no number, no full stop, and the activity's id at the end.

    That is so of every message that is known; of the others it is inferred.
    """
    if not refusal.message:
        return refusal
    words = _NUMBERED.sub("", refusal.message).removesuffix(".")
    return AzureError(
        refusal.status, refusal.code, f"{words} (Activity ID: {activity})", inner=refusal.inner, headers=refusal.headers
    )
