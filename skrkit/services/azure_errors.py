"""What azure-core raises, in skrkit's words: which request, what the service said, what to try."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from skrkit.errors import ReleaseRefused, ServiceError, SkrkitError

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError, HttpResponseError

_FIXES = {
    401: "Sign in again: the token is missing, expired, or made for another audience or tenant.",
    403: "Grant the caller this permission on the resource, or look at its firewall; a grant can take minutes to work.",
    404: "Check the name, and whether the resource was deleted or lies in another subscription.",
    409: "The resource is deleted but recoverable, or being changed: wait, recover it, or choose another name.",
    429: "Too many requests: wait as long as Retry-After says, then try again.",
}
_FALLBACK_FIX = "Try again; if it stays, give the service's request id to its support."


@contextmanager
def azure_call(what: str) -> Iterator[None]:
    """Turn what azure-core raises inside into a `ServiceError` about `what` ("Key Vault get key")."""
    from azure.core.exceptions import AzureError

    try:
        yield
    except AzureError as error:
        raise service_error(error, what) from error


def service_error(error: AzureError, what: str) -> SkrkitError:
    """Return the `ServiceError` that says what `error` says: request, status, the service's own code and message."""
    from azure.core.exceptions import HttpResponseError

    if isinstance(error, HttpResponseError) and error.response is not None:
        status, code, message = response_facts(error)
        return ServiceError(
            what=what,
            where=request_line(error),
            expected="success",
            found=f"HTTP {status} {code}: {message}",
            fix=_FIXES.get(status, _FALLBACK_FIX),
            status=status,
            code=code,
        )
    return ServiceError(
        what=what,
        where="the network",
        expected="an answer",
        found=f"{type(error).__name__}: {first_line(str(error))}",
        fix="Check name resolution, proxy and firewall; in the sandbox: skrkit sandbox status",
        code=type(error).__name__,
    )


def refusal(error: HttpResponseError, what: str) -> SkrkitError:
    """Return `ReleaseRefused` for a 403 of Key Vault's release, else the `ServiceError`."""
    status, code, message = response_facts(error)
    if status != 403:
        return service_error(error, what)
    return ReleaseRefused(
        what=what,
        where=request_line(error),
        expected="the key",
        found=f"HTTP {status} {code}: {message}",
        fix=_REFUSAL_FIXES.get(
            _refusal_leg(message), "skrkit inspect the token, and hold its claims against the policy."
        ),
        source="Key Vault: release",
    )


_REFUSAL_FIXES = {
    "requirements": "Compare the token with the policy clause by clause; the decision tree says which failed.",
    "verified": "Attest again (a token lives 8 hours); check that the policy's authority is its issuer.",
    "permission": "Add `release` to the identity's key permissions on this vault, then wait a minute.",
    "disabled": "Enable the key version.",
}


def _refusal_leg(message: str) -> str:
    for leg in ("requirements", "verified", "permission", "disabled"):
        if leg in message:
            return leg
    return ""


def response_facts(error: HttpResponseError) -> tuple[int, str, str]:
    """Return HTTP status, the service's error code (inner code first where it says more) and its message."""
    status = int(error.status_code or 0)
    detail = error.error
    if detail is None:
        return status, "", first_line(error.message)
    inner = getattr(detail, "innererror", None) or {}
    inner_code = inner.get("code", "") if isinstance(inner, dict) else ""
    code = str(detail.code or "")
    return status, f"{code}/{inner_code}" if inner_code else code, first_line(str(detail.message or ""))


def request_line(error: HttpResponseError) -> str:
    """Return "POST https://…/release" without the query, which is long and says little."""
    request = getattr(error.response, "request", None)
    if request is None:
        return "the service"
    return f"{request.method} {str(request.url).split('?', maxsplit=1)[0]}"


def first_line(text: str) -> str:
    """Return the first line that is not empty, at most 300 characters."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= 300 else line[:297] + "..."
