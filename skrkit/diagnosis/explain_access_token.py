"""The access-token leg: a 401 of the vault, held against the claims of the caller's token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from skrkit.diagnosis.finding import Finding
from skrkit.diagnosis.reading import Reading

_AUDIENCES = ("https://vault.azure.net", "cfa8b339-82a2-471a-a3c9-0fc0be7a4093")
_HSM_AUDIENCE = "https://managedhsm.azure.net"
_EXPIRED = r"TokenExpired|IDX10223|S2S12086"
_ISSUER = r"Expected one of (https://sts\.windows\.net/[^,\s]+)"
_CHALLENGE = "challenge resource"


def recognise(reading: Reading) -> Iterator[Finding]:
    """Return which part of the access token is refused. Only a service's own words, and a 401, lead here."""
    refusal, words = reading.refusal, reading.refusal.words
    if _CHALLENGE in words and "does not match" in words:
        found = refusal.message[:300]
        yield reading.find(
            "access-token.challenge-domain", "likely", expected="a challenge of the vault's domain", found=found
        )
    elif "AKV10000" in words:
        yield _missing(reading)
    elif "AKV10022" in words:
        yield _audience(reading, "access-token.wrong-audience")
    elif "AKV10032" in words:
        yield _issuer(reading)
    elif re.search(_EXPIRED, words):
        yield _expired(reading)
    elif "AKV10046" in words:
        yield _unknown_key(reading)
    elif refusal.status == 401 and refusal.service in ("hsm", "vault") and not refusal.message:
        yield _audience(reading, "access-token.hsm-empty-401")


def _missing(reading: Reading) -> Finding:
    headers = reading.refusal.exchange.request_headers if reading.refusal.exchange else {}
    sent = any(name.lower() == "authorization" for name in headers)
    evidence = ("The client sent one: it was lost on the way to the vault.",) if sent else ()
    return reading.find(
        "access-token.missing",
        "proved" if headers and not sent else "likely",
        expected="a bearer token",
        found="none",
        evidence=evidence,
    )


def _audience(reading: Reading, cause: str) -> Finding:
    hsm = reading.refusal.service == "hsm"
    wanted, found = (_HSM_AUDIENCE,) if hsm else _AUDIENCES, reading.case.access_token.get("aud")
    return reading.find(
        cause,
        "proved" if isinstance(found, str) and found not in wanted else "likely",
        expected=wanted[0],
        found=_shown(found) if found else str(reading.refusal)[:300],
        where="access token /aud" if found else "",
    )


def _issuer(reading: Reading) -> Finding:
    known = re.search(_ISSUER, reading.refusal.words)
    tenant = reading.part(reading.case.vault, "properties", "tenantId")
    wanted = known.group(1) if known else f"https://sts.windows.net/{tenant or '<tenant of the vault>'}/"
    found = reading.case.access_token.get("iss")
    differs = isinstance(found, str) and found.rstrip("/") != wanted.rstrip("/")
    return reading.find(
        "access-token.wrong-tenant",
        "proved" if differs and known else "likely",
        expected=wanted,
        found=_shown(found) if found else str(reading.refusal)[:300],
        where="access token /iss" if found else "",
    )


def _expired(reading: Reading) -> Finding:
    exp, at = reading.case.access_token.get("exp"), reading.service_time or reading.case.at
    known = isinstance(exp, int) and not isinstance(exp, bool) and 0 <= exp < 1 << 33
    past = known and at is not None and exp <= at.timestamp()  # type: ignore[operator]  # known is of exp
    return reading.find(
        "access-token.expired",
        "proved" if past else "likely",
        expected=f"exp after {at.isoformat()}" if at else "exp that is to come",
        found=datetime.fromtimestamp(int(str(exp)), UTC).isoformat() if known else str(reading.refusal)[:300],
        where="access token /exp" if known else "",
    )


def _unknown_key(reading: Reading) -> Finding:
    return reading.find(
        "access-token.unknown-key",
        "likely",
        expected="a signature by a key of Entra ID that the vault knows",
        found="a key that it does not know",
    )


def _shown(value: object) -> str:
    return str(value)[:200]
