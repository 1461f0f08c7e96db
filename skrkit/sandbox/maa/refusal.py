"""How MAA says no: 400 with a code, and a message that names the step and never repeats the evidence."""

from __future__ import annotations

from collections.abc import Sequence

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


def denied(claims: Sequence[tuple[str, str]] = ()) -> AzureError:
    """Return 400 PolicyEvaluationError. Claims whose value denied are named, where the rule shows which they are."""
    if not claims:
        return AzureError(400, "PolicyEvaluationError", DENIED)
    details = [{"code": "PolicyFailureClaim", "target": name, "value": value} for name, value in claims]
    inner = {"code": "PolicyValidationFailure", "details": details}
    said = ", ".join(f"the claim {name!r} is {'not true' if value == 'false' else value}" for name, value in claims)
    return AzureError(
        400, "PolicyEvaluationError", f"{DENIED} {said[0].upper()}{said[1:]}.", extra={"innererror": inner}
    )


def not_evaluated(cause: SkrkitError) -> AzureError:
    """Return 400 PolicyEvaluationError for a policy that the claims make impossible to evaluate (words inferred)."""
    message = f"Native operation failed with 65518: Policy Evaluation Error has occurred Msg:[{cause.what} at "
    return AzureError(400, "PolicyEvaluationError", f"{message}{cause.where}: expected {cause.expected}]")


def not_parsed(cause: SkrkitError, *, line: str, column: str) -> AzureError:
    """Return 400 PolicyParsingError in the form of Azure's troubleshooting guide; the failure message is skrkit's."""
    return AzureError(
        400,
        "PolicyParsingError",
        "Native operation failed with 65526: Invalid policy was specified Msg:[Policy Parser Exception Thrown: "
        f"Offending symbol: {cause.found}\nLine: '{line}', Column: '{column}'\n"
        f"Failure message: 'mismatched input {cause.found} expecting {cause.expected}']",
    )
