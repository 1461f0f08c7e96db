"""The identity leg: what IMDS says, and what the VM resource says of its identities."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

from skrkit.diagnosis.finding import Finding
from skrkit.diagnosis.reading import Reading

_SELECTORS = ("client_id", "object_id", "principal_id", "msi_res_id", "mi_res_id")
_CERTIFICATES = "/metadata/THIM/"
_NO_IMDS_HERE = "no_imds_here"  # a sandbox's outer door, and Docker Desktop's proxy in other words


def recognise(reading: Reading) -> Iterator[Finding]:
    """Return what an answer of IMDS, or of azure-identity in its place, shows."""
    refusal = reading.refusal
    if refusal.service == "imds":
        yield from _of_imds(reading)
    elif not refusal.status and "DefaultAzureCredential failed" in refusal.words:
        found = refusal.words.strip().splitlines()[0][:300]
        yield reading.find("identity.no-credential", "likely", expected="a credential that has a token", found=found)
    elif not refusal.service:
        yield from _by_words(reading)


def _of_imds(reading: Reading) -> Iterator[Finding]:
    refusal = reading.refusal
    if refusal.code == _NO_IMDS_HERE or "is unreachable" in refusal.message:
        yield _said(reading, "machine.not-a-cvm", "IMDS, as inside a VM in Azure")
    elif refusal.status in (403, 407) or "X-Forwarded-For" in refusal.words:
        yield _said(reading, "identity.imds-proxied", "an answer of IMDS itself")
    elif refusal.status in (404, 410) or refusal.status >= 500:
        thim = _CERTIFICATES in refusal.url or "THIM" in refusal.words
        yield _said(reading, "network.thim-unavailable" if thim else "identity.imds-down", "an answer")
    else:
        yield from _by_words(reading)


def _said(reading: Reading, cause: str, expected: str) -> Finding:
    return reading.find(cause, "likely", expected=expected, found=str(reading.refusal)[:300])


def _by_words(reading: Reading) -> Iterator[Finding]:
    words = reading.refusal.words
    if "Multiple user assigned identities" in words:
        yield _several(reading)
    elif "Identity not found" in words:
        yield from _not_found(reading)
    elif "metadata header not specified" in words:
        yield _said(reading, "identity.imds-header", "the header Metadata: true")
    elif "AADSTS50001" in words or reading.refusal.code == "invalid_resource":
        yield _said(reading, "identity.invalid-resource", "a resource that the tenant has")
    elif "api-version is invalid" in words or "format=text" in words:
        yield _said(reading, "identity.imds-format", "an api-version that IMDS has, and format=text for one value")


def _several(reading: Reading) -> Finding:
    assigned = _assigned(reading)
    return reading.find(
        "identity.several",
        "proved" if len(assigned) > 1 else "likely",
        expected="one identity, or a selector that names one",
        found=f"{len(assigned)} user-assigned identities" if assigned else "several",
        evidence=tuple(assigned),
    )


def _not_found(reading: Reading) -> Iterator[Finding]:
    identity, selectors = reading.case.vm.get("identity"), _selectors(reading.refusal.url)
    if selectors:
        certainty = "proved" if identity else "likely"
        yield reading.find(
            "identity.wrong-selector",
            "proved" if certainty == "proved" else "likely",
            expected="an identity that this VM has",
            found=", ".join(f"{name}={value}" for name, value in selectors.items())[:300],
            evidence=_own(reading),
        )
    elif reading.case.vm and identity:
        # IMDS says so of a VM that has one: only a selector, which this record does not show, explains both.
        yield reading.find(
            "identity.wrong-selector",
            "likely",
            expected="an identity that this VM has",
            found="none of the one that was asked for, and the VM has an identity",
            evidence=_own(reading),
        )
    else:
        yield reading.find(
            "identity.none",
            "proved" if reading.case.vm else "likely",
            expected="a managed identity of the VM",
            found="none" if reading.case.vm else "IMDS knows none",
            where="/identity" if reading.case.vm else "",
        )
        if not reading.case.vm:
            yield _possible_selector(reading)


def _possible_selector(reading: Reading) -> Finding:
    found = "a request that may have a selector"
    return reading.find("identity.wrong-selector", "possible", expected="an identity that this VM has", found=found)


def _selectors(url: str) -> dict[str, str]:
    asked = parse_qs(urlsplit(url).query) if "?" in url else {}
    return {name: values[0] for name, values in asked.items() if name in _SELECTORS}


def _assigned(reading: Reading) -> list[str]:
    assigned = reading.part(reading.case.vm, "identity", "userAssignedIdentities")
    return [name.rpartition("/")[2][:100] for name in assigned] if isinstance(assigned, dict) else []


def _own(reading: Reading) -> tuple[str, ...]:
    kind, principal = (reading.part(reading.case.vm, "identity", name) for name in ("type", "principalId"))
    own = (f"the VM's identity: {kind}" if kind else "", f"object id {principal}" if principal else "")
    return (*(part for part in own if part), *_assigned(reading))
