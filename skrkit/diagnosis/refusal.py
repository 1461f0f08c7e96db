"""What said no, and in which words: one form for an answer of a service, an error of skrkit, and a pasted text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from skrkit.diagnosis.case import Case, Exchange
from skrkit.wire import Json

MAX_WORDS = 4096  # of a message: a service's own has some hundred characters
_STATUS_LINE = re.compile(r"HTTP (\d{3})(?: ([^:\s]*))?: (.*)", re.DOTALL)
KEY_READ = "key.read"  # in a case's `machine`: the error of reading the key beforehand
_IMDS = "169.254.169.254"
_SUFFIXES = (
    (".vault.azure.", "vault"),
    (".vault.usgovcloudapi.net", "vault"),
    (".managedhsm.", "hsm"),
    (".attest.azure.", "maa"),
    ("login.microsoftonline.", "entra"),
    ("sts.windows.net", "entra"),
    ("management.azure.", "arm"),
    ("kdsintf.amd.com", "kds"),
)
# What skrkit's own services call themselves in an error, for one that has no exchange and no host in its words.
_WHAT = (
    ("release of key", "vault"),
    ("public half of key", "vault"),
    ("Key Vault", "vault"),
    ("key ", "vault"),
    ("guest attestation", "maa"),
    ("platform attestation", "maa"),
    ("MAA", "maa"),
    ("THIM", "imds"),
    ("IMDS", "imds"),
    ("access token", "imds"),
    ("TPM2_", "tpm"),
    ("/dev/tpm", "tpm"),
    ("vTPM", "tpm"),
    ("the vTPM", "tpm"),
    ("release response", "response"),
    ("key_hsm", "response"),
    ("released key", "response"),
    ("JWT", "token"),
    ("sealed envelope", "token"),
    ("HCL", "report"),
    ("SNP report", "report"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Who said no to what, in which words. Every text may be a stranger's: it is shown, compared, never obeyed.

    `service` is "imds", "entra", "arm", "vault", "hsm", "maa", "kds", "tpm", for bytes that skrkit could not read
    "response", "token" or "report", or empty. `status` is HTTP's, 0 where no
    answer came or it is not known. `code` and `inner` are the service's error codes, `message` its sentence. `step` is
    the id of a check of skrkit's that failed, `error` that error's members. `structured` is true for an error in the
    form that Azure's services use, and false for prose, which a proxy may have written.
    """

    service: str = ""
    method: str = ""
    url: str = ""
    status: int = 0
    code: str = ""
    inner: str = ""
    message: str = ""
    step: str = ""
    error: Mapping[str, Json]
    exchange: Exchange | None = None
    structured: bool = False

    @property
    def where(self) -> str:
        """The request without its query, or where skrkit's error says it happened."""
        if self.url:
            return f"{self.method} {self.url.split('?', maxsplit=1)[0]}".strip()
        return str(self.error.get("where") or "the answer")

    @property
    def host(self) -> str:
        """The host that was asked, lower case; empty where it is not known."""
        return host_of(self.url)

    @property
    def words(self) -> str:
        """All that was said, for a search."""
        said = (str(self.error.get(name) or "") for name in ("what", "where", "found"))
        broken = self.exchange.error if self.exchange else ""
        return "\n".join((self.message, broken, *said))

    def __str__(self) -> str:
        """The refusal in the service's own words, with status and codes."""
        if self.step:
            return f"skrkit refused at step {self.step}: {self.error.get('what')} is {self.error.get('found')}"
        codes = "/".join(part for part in (self.code, self.inner) if part)
        unanswered = self.url and not self.structured  # of a pasted text nobody knows what it was an answer to
        status = f"HTTP {self.status}" if self.status else "no answer" if unanswered else ""
        lead = " ".join(part for part in (status, codes) if part)
        said = " ".join((self.message or str(self.error.get("found") or "")).split())
        return f"{lead}: {said}" if lead and said else lead or said


def refusal_of(case: Case) -> Refusal | None:
    """Return what said no in this case, or None where nothing did.

    A check of skrkit's own that failed comes first: what a service answered before it was taken for good. Then the
    last exchange, if it failed, and then skrkit's error alone. Where all went well but the reading of the key, that.
    """
    error = case.error
    step = str(error.get("step") or "")
    last = case.exchanges[-1] if case.exchanges else None
    if step:
        return Refusal(step=step, error=error, exchange=last, service=_service_of_step(step))
    if last is not None and (last.status >= 400 or last.status == 0) and _same_service(last, error):
        return _of_exchange(last, error)
    unread = case.machine.get(KEY_READ)
    told = error or (unread if isinstance(unread, dict) else {})
    return _of_error(told, last) if told else None


def _service_of_step(step: str) -> str:
    return "vault" if step.startswith("release.") else "maa" if step.startswith(("token.", "envelope.")) else ""


def _same_service(exchange: Exchange, error: Mapping[str, Json]) -> bool:
    """Return whether an error can be of the last exchange. The vTPM's are of none."""
    return not error or service_named(str(error.get("what") or "")) != "tpm"


def _of_exchange(exchange: Exchange, error: Mapping[str, Json]) -> Refusal:
    code, inner, message, structured = body_words(exchange.response_body)
    return Refusal(
        service=exchange.service if exchange.service not in ("", "vault") else service_at(exchange.url),
        method=exchange.method,
        url=exchange.url,
        status=exchange.status,
        code=code,
        inner=inner,
        message=message or exchange.error[:MAX_WORDS],
        error=error,
        exchange=exchange,
        structured=structured,
    )


def _of_error(error: Mapping[str, Json], last: Exchange | None) -> Refusal:
    found, what = str(error.get("found") or "")[:MAX_WORDS], str(error.get("what") or "")
    method, _, url = str(error.get("where") or "").partition(" ")
    answered = _STATUS_LINE.match(found)
    code, _, inner = (answered.group(2) or "").partition("/") if answered else (str(error.get("code") or ""), "", "")
    url = url if url.startswith("http") else ""
    return Refusal(
        service=service_at(url) or service_named(what) or service_at_any(found),
        method=method if url else "",
        url=url,
        status=int(answered.group(1)) if answered else 0,
        code=code,
        inner=inner,
        message=answered.group(3) if answered else found,
        error=error,
        exchange=last if last is not None and last.url == url else None,
        structured=bool(answered and code),
    )


def host_of(url: str) -> str:
    """Return the host of a URL, lower case; empty for what is none."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def service_at(url: str) -> str:
    """Return which service answers at a URL: "imds", "entra", "arm", "vault", "hsm", "maa", "kds", or empty."""
    host = host_of(url)
    if host == _IMDS:
        return "imds"
    return next((service for part, service in _SUFFIXES if part in f".{host}." or host.endswith(part)), "")


def service_at_any(text: str) -> str:
    """Return the service whose host stands anywhere in a text."""
    if _IMDS in text:
        return "imds"
    return next((service for part, service in _SUFFIXES if part in text), "")


def service_named(what: str) -> str:
    """Return the service that an error of skrkit's is about, by its first words."""
    return next((service for words, service in _WHAT if what.startswith(words)), "")


def body_words(body: Json) -> tuple[str, str, str, bool]:
    """Return code, inner code and message of an error body, and whether it has the form of an Azure service's.

    Three forms: `{"error": {"code", "message", "innererror"}}`, the same with capitals, and IMDS's and Entra's flat
    `{"error", "error_description"}`.
    """
    if isinstance(body, dict):
        error = body.get("error", body.get("Error"))
        if isinstance(error, dict):
            code, message = (_text(error, name) for name in ("code", "message"))
            return code, _inner(error), message, bool(code)
        if isinstance(error, str):
            return error[:200], "", _text(body, "error_description") or error[:MAX_WORDS], True
        return "", "", "", False
    return "", "", body[:MAX_WORDS] if isinstance(body, str) else "", False


def _inner(error: Mapping[str, Json]) -> str:
    inner = error.get("innererror", error.get("innerError", error.get("InnerError")))
    return _text(inner, "code")[:200] if isinstance(inner, dict) else ""


def _text(members: Mapping[str, Json], name: str) -> str:
    value = members.get(name, members.get(name.capitalize()))
    return value[:MAX_WORDS] if isinstance(value, str) else ""


def service_time(case: Case) -> datetime | None:
    """Return the clock of the services: the Date of the last answer that has one."""
    for exchange in reversed(case.exchanges):
        for name, value in exchange.response_headers.items():
            moment = _date(value) if name.lower() == "date" else None
            if moment is not None:
                return moment
    return None


def _date(text: str) -> datetime | None:
    from email.utils import parsedate_to_datetime  # here: it takes a tenth of what an explanation may

    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
