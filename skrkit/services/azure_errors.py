"""What azure-core raises, in skrkit's words: which request, what the service said, what to try."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from skrkit.errors import ReleaseRefused, ServiceError, SkrkitError

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError, HttpResponseError

    from skrkit.diagnosis.case import Case
    from skrkit.wire import Json

_FIXES = {  # by status, for an answer that names no cause of the catalogue
    400: "The service read the request and does not take it: its message says which part.",
    401: "Sign in again: the token is missing, expired, or made for another audience or tenant.",
    403: "Grant the caller this permission on the resource, or look at its firewall; a grant can take minutes to work.",
    404: "Check the name, and whether the resource was deleted or lies in another subscription.",
    409: "The resource is deleted but recoverable, or being changed: wait, recover it, or choose another name.",
    429: "Too many requests: wait as long as Retry-After says, then try again.",
}
_MAX_BODY = 4096
_FALLBACK_FIX = "Try again; if it stays, ask the service's support."
_NO_CREDENTIAL_FIX = "Sign in: az login, or set AZURE_CLIENT_ID and AZURE_CLIENT_SECRET; inside a VM, run step 1 first."
_NETWORK_FIX = "Check name resolution, proxy and firewall; in the sandbox: skrkit sandbox status"
_TLS_REFUSED = "CERTIFICATE_VERIFY_FAILED"  # OpenSSL's word, which every layer above it hands on
_TLS_FIX = (
    "Check this machine's clock, and whether a proxy on the way puts in certificates of its own; for a sandbox made at "
    "another time than the clock's: skrkit sandbox reset"
)
_REQUEST_IDS = ("x-ms-request-id", "x-ms-correlation-request-id")


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
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

    from skrkit.diagnosis.case import Case

    if isinstance(error, HttpResponseError) and error.response is not None:
        status, code, message = response_facts(error)
        return ServiceError(
            what=what,
            where=request_line(error),
            expected="success",
            found=f"HTTP {status} {code}: {message}",
            fix=_catalogued_fix(error) or _FIXES.get(status) or _fallback_fix(error),
            status=status,
            code=code,
        )
    if isinstance(error, ClientAuthenticationError):  # of azure-identity, before any request to the service
        found = ServiceError(
            what=what,
            where="the credential",
            expected="an access token",
            found=first_line(str(error)) or type(error).__name__,
            fix=_TLS_FIX if _TLS_REFUSED in str(error) else _NO_CREDENTIAL_FIX,
            code=type(error).__name__,
        )
        found.fix = _fix_of_cause(Case(error={**found.to_json(), "code": found.code})) or found.fix
        return found
    return ServiceError(
        what=what,
        where="the network",
        expected="an answer",
        found=f"{type(error).__name__}: {first_line(str(error))}",
        fix=_TLS_FIX if _TLS_REFUSED in str(error) else _NETWORK_FIX,
        code=type(error).__name__,
    )


def _fallback_fix(error: HttpResponseError) -> str:
    headers = getattr(error.response, "headers", None) or {}
    request_id = next((headers[name] for name in _REQUEST_IDS if name in headers), "")
    return f"{_FALLBACK_FIX} Request id: {request_id}" if request_id else _FALLBACK_FIX


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
        fix=_catalogued_fix(error) or _ANY_REFUSAL_FIX,
        source="Key Vault: release",
    )


_ANY_REFUSAL_FIX = (
    "Compare the token with the key's policy, clause by clause, and attest again if it is old (it lives 8 hours); "
    "skrkit explain --live names the cause."
)


def _catalogued_fix(error: HttpResponseError) -> str:
    """Return the fix of the cause that this answer names by itself; empty where it names none, or several."""
    from skrkit.diagnosis.case import Case, Exchange

    status, _code, _message = response_facts(error)
    request = getattr(error.response, "request", None)
    url = str(request.url) if request is not None else ""
    method = str(request.method) if request is not None else ""
    exchange = Exchange(service="", method=method, url=url, status=status, response_body=_body(error))
    return _fix_of_cause(Case(exchanges=(exchange,)))


def _fix_of_cause(case: Case) -> str:
    from skrkit.diagnosis.explain import explain

    findings = explain(case).findings
    return findings[0].fix if findings and findings[0].certainty != "possible" else ""


def _body(error: HttpResponseError) -> Json:
    """Return the body of an answer as JSON, or as text; nothing where it was not read."""
    import json

    from azure.core.exceptions import AzureError

    try:
        text = str(error.response.text())  # type: ignore[union-attr]  # asked for an error with a response
    except (AttributeError, TypeError, ValueError, AzureError):  # not read, or not to be decoded
        return None
    try:
        value: Json = json.loads(text)
    except (ValueError, RecursionError):
        return text[:_MAX_BODY]
    return value


def response_facts(error: HttpResponseError) -> tuple[int, str, str]:
    """Return HTTP status, the service's error code (inner code first where it says more) and its message."""
    status = int(error.status_code or 0)
    detail = error.error
    if isinstance(body := _body(error), dict) and isinstance(
        flat := body.get("error"), str
    ):  # IMDS's shape, and OAuth's
        description = str(body.get("error_description") or "")
        return status, flat if description else "", first_line(description or flat)
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
