"""How MAA says no: 400 with a code, and a message that names the step and never repeats the evidence."""

from __future__ import annotations

from skrkit.errors import SkrkitError
from skrkit.sandbox.web import AzureError

DENIED = "Native operation failed with 65518: G:PolicyEvaluationError: A Deny claim was issued, authorization failed."


def refused(step: str, sentence: str) -> AzureError:
    """Return 400 InvalidParameter for evidence that fails a check. `step` is the check's id.

    The real service's texts for SNP evidence are not known: the code is documented, the sentence is the sandbox's.
    """
    return AzureError(400, "InvalidParameter", f"The evidence was refused at step {step}: {sentence}")


def malformed(step: str, cause: SkrkitError) -> AzureError:
    """Return 400 InvalidParameter for bytes that cannot be read: what, where, expected; never what was found."""
    return refused(step, f"{cause.what} at {cause.where} is not {cause.expected}.")


def denied(claim: str) -> AzureError:
    """Return 400 PolicyEvaluationError, as a shared provider answers when its default policy denies."""
    inner = {
        "code": "PolicyValidationFailure",
        "details": [{"code": "PolicyFailureClaim", "target": claim, "value": "false"}],
    }
    message = f"{DENIED} The claim {claim!r} is not true."
    return AzureError(400, "PolicyEvaluationError", message, extra={"innererror": inner})


def denied_by_own_policy() -> AzureError:
    """Return 400 PolicyEvaluationError as for a policy that a provider's owner has set: no word of what it asks for."""
    return AzureError(400, "PolicyEvaluationError", DENIED)
