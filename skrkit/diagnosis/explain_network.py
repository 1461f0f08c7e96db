"""The network leg: no answer, an answer of somebody in the way, throttling, a service that is down."""

from __future__ import annotations

import re
from collections.abc import Iterator

from skrkit.diagnosis.finding import Finding
from skrkit.diagnosis.reading import Reading

_NAME = (
    r"(?i)failed to resolve|name or service not known|no such host|getaddrinfo|nodename nor servname|not known|"
    r"could not resolve|host not found|dns_error|NXDOMAIN|temporary failure in name resolution|no address associated"
)
_TLS = (
    r"(?i)certificate.verify.failed|self.signed certificate|unable to get local issuer|unknown authority|"
    r"SSL certificate problem|unable to verify the first certificate|RemoteCertificate(Name|Chain)"
)
_TLS_TIME = r"(?i)certificate (is not yet valid|has expired)"
_CA_BUNDLE = r"(?i)problem with the ssl ca cert|error setting certificate verify locations"
_CONNECTION = (
    r"(?i)refused|reset|timed? ?out|timeout|aborted|disconnected|unreachable|no route to host|EOF occurred|"
    r"without response|forcibly closed|failed to establish|IncompleteRead|broken pipe"
)
_DOUBLE_SLASH = r"/keys/[^/]+//release"
_NAMES = {"vault": "the vault", "hsm": "the Managed HSM", "maa": "the attestation provider", "imds": "IMDS"}
_MISSING = {
    "vault": "network.vault-name",
    "hsm": "network.vault-name",
    "maa": "network.maa-name",
    "entra": "network.entra",
    "arm": "network.arm",
    "kds": "network.kds",
    "imds": "identity.imds-down",
}
_UNREACHABLE = _MISSING | {
    "vault": "network.vault-unreachable",
    "hsm": "network.vault-unreachable",
    "maa": "network.maa-unreachable",
}
_UNTRUSTED = {"vault": "network.vault-tls", "hsm": "network.vault-tls", "maa": "network.maa-tls"}
_THROTTLED = {
    "vault": "network.vault-throttled",
    "hsm": "network.vault-throttled",
    "maa": "network.maa-throttled",
    "kds": "network.kds",
    "imds": "identity.imds-throttled",
}
_UNAVAILABLE = {
    "vault": "network.vault-unavailable",
    "hsm": "network.vault-unavailable",
    "maa": "network.maa-unavailable",
    "entra": "network.entra",
    "arm": "network.arm",
    "kds": "network.kds",
}


def recognise(reading: Reading) -> Iterator[Finding]:
    """Return what the network shows: by status where there is an answer, by the words of the failure where not."""
    refusal = reading.refusal
    if refusal.status == 0 and not refusal.structured:
        yield from _no_answer(reading)
    elif refusal.status == 429:
        yield from _answered(reading, _THROTTLED, "fewer requests")
    elif refusal.status >= 500:
        yield from _unavailable(reading)
    elif not refusal.structured and refusal.status in (301, 302, 307, 308, 403, 404, 407, 511):
        yield from _stranger(reading)


def _no_answer(reading: Reading) -> Iterator[Finding]:
    words, service = reading.refusal.words, reading.refusal.service
    if re.search(_CA_BUNDLE, words):
        yield _lost(reading, "network.ca-bundle", "a list of certificate authorities")
    elif re.search(_TLS_TIME, words):
        yield _lost(reading, "machine.clock-skew", "a certificate that is valid at this machine's time")
    elif re.search(_TLS, words):
        cause = _UNTRUSTED.get(service, "network.vault-tls")
        yield _lost(reading, cause, "a certificate by an authority that this system trusts", known=service)
    elif re.search(_NAME, words):
        yield _lost(reading, _MISSING.get(service, "network.vault-name"), "a name that resolves", known=service)
    elif re.search(_CONNECTION, words):
        yield _lost(reading, _UNREACHABLE.get(service, "network.vault-unreachable"), "a connection", known=service)


def _lost(reading: Reading, cause: str, expected: str, *, known: str = "any") -> Finding:
    """Return the finding; without a service that is known, the vault is only the one that is asked most."""
    found = next((line.strip() for line in reading.refusal.words.splitlines() if line.strip()), "no answer")
    return reading.find(
        cause,
        "likely" if known else "possible",
        expected=expected,
        found=found[:300],
        evidence=() if known else ("Which service was asked is not known.",),
    )


def _answered(reading: Reading, causes: dict[str, str], expected: str) -> Iterator[Finding]:
    cause = causes.get(reading.refusal.service)
    if cause is not None:
        yield reading.find(cause, "likely", expected=expected, found=str(reading.refusal)[:300])


def _unavailable(reading: Reading) -> Iterator[Finding]:
    if "Pool creation is disabled" in reading.refusal.words:
        yield reading.find("key.hsm-capacity", "likely", expected="success", found=str(reading.refusal)[:300])
    elif "Host Not Found" not in reading.refusal.words:
        yield from _answered(reading, _UNAVAILABLE, "success")
    else:  # a proxy's 502: the name does not resolve there
        yield _lost(reading, _MISSING.get(reading.refusal.service, "network.vault-name"), "a name that resolves")


def _stranger(reading: Reading) -> Iterator[Finding]:
    """Return what an answer says that is not in the form of an Azure service's: somebody else gave it."""
    refusal = reading.refusal
    if refusal.service not in ("vault", "hsm", "maa"):
        return
    if re.search(_DOUBLE_SLASH, refusal.url):
        yield _lost(reading, "network.double-slash", "the path as it was sent")
        return
    yield reading.find(
        "network.proxied",
        "likely" if refusal.status in (407, 511) else "possible",
        expected=f"an answer of {_NAMES[refusal.service]}, in JSON",
        found=str(refusal)[:300] or f"HTTP {refusal.status} without a word",
    )
