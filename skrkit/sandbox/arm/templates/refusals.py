"""What Resource Manager says of a template that it does not take, or could not carry out.

The words stand in public issues and in Azure's articles on template errors. Azure adds the line and the column, which
are not known here: a template comes as JSON that was read already. Texts marked (inferred) are not known to the letter.
"""

from __future__ import annotations

from typing import Any

from skrkit.sandbox.web import AzureError

FAILED = (
    "At least one resource deployment operation failed. Please list deployment operations for details. Please see "
    "https://aka.ms/arm-deployment-operations for usage details."
)
SYNTAX = "Please see https://aka.ms/arm-syntax-resources for usage details."


class ExpressionError(Exception):
    """An expression that does not parse or has no value. The message is Azure's own sentence about it."""


class UnknownYet(Exception):  # not a failure: the value comes with the resources
    """A value that only the deployed resources have: `reference` before there is anything to refer to."""


def invalid(message: str) -> AzureError:
    """Return the 400 of a template that is refused before anything is made."""
    violation = {"type": "TemplateViolation", "info": {"lineNumber": 0, "linePosition": 0, "path": ""}}
    return AzureError(
        400,
        "InvalidTemplate",
        f"Deployment template validation failed: '{message}'.",
        extra={"additionalInfo": [violation]},
    )


def invalid_part(part: str, name: str, error: ExpressionError) -> AzureError:
    """Return the 400 of a "resource", "variable", "parameter" whose expression is at fault."""
    return invalid(
        f"The template {part} '{name}' is not valid: {error}. Please see https://aka.ms/arm-functions for usage "
        "details."
    )


def not_valid(name: str, tracking: str, details: list[dict[str, Any]]) -> AzureError:
    """Return the 400 of a deployment whose bodies the providers do not take."""
    return AzureError(
        400,
        "InvalidTemplateDeployment",
        f"The template deployment '{name}' is not valid according to the validation procedure. The tracking id is "
        f"'{tracking}'. See inner errors for details.",
        extra={"details": details},
    )


def unprocessable(resource_id: str, error: ExpressionError) -> AzureError:
    """Return what an operation fails with when a resource's body cannot be evaluated."""
    return AzureError(
        400,
        "InvalidTemplate",
        f"Unable to process template language expressions for resource '{resource_id}'. '{error}'",
    )


def invalid_output(name: str, error: ExpressionError) -> AzureError:
    """Return what a deployment fails with when its resources are there and an output has no value."""
    return AzureError(400, "DeploymentOutputEvaluationFailed", f"The template output '{name}' is not valid: {error}.")


def no_deployment(name: str) -> AzureError:
    """Return the 404 of a deployment that is not there."""
    return AzureError(404, "DeploymentNotFound", f"Deployment '{name}' could not be found.")


def failed(details: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the error of a deployment whose resources could not all be made; `details` are their own errors."""
    return {"code": "DeploymentFailed", "message": FAILED, "details": details}
