"""Resource Manager's refusals: its own codes, and its words as far as they are known.

The words about api-version and VM bodies stand in public issues. Those about tokens, roles, groups, resources and vault
names are general knowledge, held against no recording; texts marked (inferred) are not known at all.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from skrkit.sandbox.web import AzureError

AUDIENCES = (
    "https://management.core.windows.net/",
    "https://management.core.windows.net",
    "https://management.azure.com/",
    "https://management.azure.com",
)

NO_CONTENT = "The request content was invalid and could not be deserialized: '{}'."


def _token_claim(authorization: str | None, name: str) -> str:
    """Return a claim of a bearer token that nobody verified: only for the words of a refusal."""
    try:
        payload = (authorization or "").rsplit(" ", 1)[-1].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(claims[name])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return ""


def unauthenticated(reason: str, authorization: str | None, *, tenant: str, now: datetime) -> AzureError:
    """Return the 401 for a token that was refused for `reason`, with the challenge of the tenant."""
    code, message = _token_refusal(reason, authorization, tenant, now)
    challenge = (
        f'Bearer authorization_uri="https://login.windows.net/{tenant}", error="invalid_token", '
        f'error_description="{message}"'
    )
    return AzureError(401, code, message, headers={"WWW-Authenticate": challenge})


def _token_refusal(reason: str, authorization: str | None, tenant: str, now: datetime) -> tuple[str, str]:
    if reason == "missing":
        return "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."
    if reason == "audience":
        allowed = ",".join(f"'{audience}'" for audience in AUDIENCES)
        message = (
            f"The access token has been obtained for wrong audience or resource '{_token_claim(authorization, 'aud')}'."
            f" It should exactly match with one of the allowed audiences {allowed}."
        )
        return "InvalidAuthenticationTokenAudience", message
    if reason == "issuer":
        message = (
            f"The access token is from the wrong issuer '{_token_claim(authorization, 'iss')}'. It must match the "
            f"tenant 'https://sts.windows.net/{tenant}/' associated with this subscription. Please use the authority "
            f"(URL) 'https://login.windows.net/{tenant}' to get the token."
        )
        return "InvalidAuthenticationTokenTenant", message
    if reason == "expired":
        message = (
            f"The access token expiry UTC time '{_utc_words(_token_claim(authorization, 'exp'))}' is earlier than "
            f"current UTC time '{_utc_words(str(int(now.timestamp())))}'."
        )
        return "ExpiredAuthenticationToken", message
    return "InvalidAuthenticationToken", "The access token is invalid."


def _utc_words(unix_seconds: str) -> str:
    if not unix_seconds.isdigit():
        return unix_seconds
    return datetime.fromtimestamp(int(unix_seconds), UTC).strftime("%m/%d/%Y %H:%M:%S")


def unauthorised(object_id: str, action: str, scope: str) -> AzureError:
    """Return the 403 of a principal without a role for `action` over `scope`."""
    return AzureError(
        403,
        "AuthorizationFailed",
        f"The client '{object_id}' with object id '{object_id}' does not have authorization to perform action "
        f"'{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, please refresh "
        "your credentials.",
    )


def missing_api_version() -> AzureError:
    """Return the 400 of a request without `api-version`."""
    return AzureError(
        400,
        "MissingApiVersionParameter",
        "The api-version query parameter (?api-version=) is required for all requests.",
    )


def invalid_api_version(found: str) -> AzureError:
    """Return the 400 of an `api-version` that is not a date."""
    return AzureError(400, "InvalidApiVersionParameter", f"The api-version '{found}' is invalid.")


def no_subscription(subscription: str) -> AzureError:
    """Return the 404 of a subscription that is not the sandbox's one."""
    return AzureError(404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found.")


def no_group(name: str) -> AzureError:
    """Return the 404 of a resource group that is not there."""
    return AzureError(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")


def no_resource(resource_type: str, name: str, group: str) -> AzureError:
    """Return the 404 of a resource that is not there."""
    return AzureError(
        404,
        "ResourceNotFound",
        f"The Resource '{resource_type}/{name}' under resource group '{group}' was not found. "
        "For more details please go to https://aka.ms/ARMResourceNotFoundFix",
    )


def no_location() -> AzureError:
    """Return the 400 of a body without `location`."""
    return AzureError(400, "LocationRequired", "The location property is required for this definition.")


def bad_request(message: str, *, code: str = "BadRequest", target: str = "") -> AzureError:
    """Return the 400 of a body that breaks a rule; `target` names the member."""
    return AzureError(400, code, message, extra={"target": target} if target else None)


def other_location(before: Mapping[str, Any], group: str, location: str) -> AzureError:
    """Return the 409 of a resource, there already, that is asked for in another region."""
    return AzureError(
        409,
        "InvalidResourceLocation",
        f"The resource '{before['name']}' already exists in location '{before['location']}' in resource group "
        f"'{group}'. A resource with the same name cannot be created in location '{location}'. Please select a new "
        "resource name.",
    )


def property_change(name: str) -> AzureError:
    """Return the 409 of a change to a property that is fixed at creation."""
    return AzureError(
        409, "PropertyChangeNotAllowed", f"Changing property '{name}' is not allowed.", extra={"target": name}
    )


def unsupported_media_type(found: str | None) -> AzureError:
    """Return the 415 of a body that is not said to be JSON."""
    return AzureError(
        415,
        "UnsupportedMediaType",
        f"The content media type '{found or '<null>'}' is not supported. Only 'application/json' is supported.",
    )


def not_here(what: str) -> AzureError:
    """Return the 501 that only the sandbox gives: Azure has this, the sandbox does not."""
    return AzureError(501, "NotInSandbox", f"The sandbox does not have {what}. See skrkit/sandbox/FIDELITY.md.")
