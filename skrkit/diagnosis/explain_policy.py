"""The policy leg: each clause that does not hold, with the mistake that it looks like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from skrkit.diagnosis.finding import Finding
from skrkit.diagnosis.reading import TEE, Reading
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.policy.evaluate import Decision, Leaf

_PREFIX = f"{TEE}."
MAX_FINDINGS = 16  # of one policy; a policy for every region fails in the same way sixty times
_CAUSE_OF_CLAIM = {
    "x-ms-compliance-status": "policy.compliance-status",
    "x-ms-attestation-type": "policy.kind-of-token",
    "x-ms-azurevm-vmid": "policy.other-vm",
    "vmUniqueId": "policy.other-vm",
    "x-ms-sevsnpvm-launchmeasurement": "policy.launch-measurement",
    "x-ms-sevsnpvm-hostdata": "policy.host-data",
    "x-ms-sevsnpvm-is-debuggable": "policy.debug",
    "x-ms-sevsnpvm-vmpl": "policy.vmpl",
    "secureboot": "policy.secure-boot",
    "secure-boot": "policy.secure-boot",
}
_BOOT = "x-ms-azurevm-"
_TRUTHS = ("true", "yes", "1", "on", "false", "no", "0", "off")


def shown_by_policy(reading: Reading) -> Iterator[Finding]:
    """Return why the policy says no to the claims; where one of the two is not known, what is asked wrongly most."""
    if reading.case.policy and reading.policy is None:
        yield _malformed(reading)
    elif reading.decision is None:
        for cause in ("policy.missing-prefix", "policy.authority-region", "policy.compliance-status"):
            yield reading.find(
                cause, "possible", expected="a policy that the claims meet", found="one that they do not"
            )
    elif reading.decision.holds:
        yield reading.find(
            "policy.changed",
            "likely",
            expected="the policy that the vault goes by",
            found="a policy that holds for these claims",
            evidence=("Evaluated here, the policy at hand says yes to the claims at hand.",),
        )
    else:
        yield from foresee(reading)


def foresee(reading: Reading) -> Iterator[Finding]:
    """Return why the policy at hand does not hold for the claims at hand."""
    if reading.decision is None or reading.decision.holds:
        return
    clauses = [child for child in reading.decision.children if child_applies(child)]
    seen: set[str] = set()
    for finding in _of_clauses(reading, clauses) if clauses else _of_authorities(reading):
        if finding.cause.id not in seen and len(seen) < MAX_FINDINGS:
            seen.add(finding.cause.id)
            yield finding


def child_applies(child: object) -> bool:
    """Return whether a clause of the policy is for this token's issuer: only then its conditions are asked."""
    return bool(getattr(child, "children", ()))


def _malformed(reading: Reading) -> Finding:
    from skrkit.errors import SkrkitError
    from skrkit.policy.parse import parse_policy

    try:
        parse_policy(reading.case.policy)
    except SkrkitError as error:
        return reading.find("policy.malformed", "proved", expected=error.expected, found=error.found, where=error.where)
    raise AssertionError("a policy that did not parse parses now")


def _of_clauses(reading: Reading, clauses: list[Decision | Leaf]) -> Iterator[Finding]:
    for clause in clauses:
        for leaf in clause.leaves():  # type: ignore[union-attr]  # a clause is a Decision
            if not leaf.holds:
                yield _of_leaf(reading, leaf)


def _of_leaf(reading: Reading, leaf: Leaf) -> Finding:
    cause = _cause_of(reading, leaf)
    nearest = leaf.nearest
    return reading.find(
        cause,
        "proved",
        expected=f"{leaf.claim} {leaf.operator.value} {leaf.expected!r}",
        found=repr(leaf.found)[:200] if leaf.present else "no such claim",
        where=leaf.pointer,
        evidence=tuple(part for part in (leaf.hint, f"nearest: {nearest}" if nearest else "") if part),
    )


def _cause_of(reading: Reading, leaf: Leaf) -> str:
    """Return the mistake that a condition looks like: its operator, its level, its name, then its value."""
    if leaf.operator.value != "equals":
        return "policy.operator"
    level = _level(reading, leaf)
    if level:
        return level
    if not leaf.present:
        return _absent(leaf)
    return _spelling(leaf) or _of_value(leaf.claim)


def _level(reading: Reading, leaf: Leaf) -> str:
    """Return that the claim stands at the other level: with the value asked for, where one stands at this level too."""
    inside = isinstance(reading.claims.get(TEE), dict)
    if leaf.claim.startswith(_PREFIX):
        bare = leaf.claim.removeprefix(_PREFIX)
        if not inside and _has(reading, bare):
            return "policy.kind-of-token"
        return "policy.extra-prefix" if _elsewhere(reading, leaf, bare) else ""
    if inside and _elsewhere(reading, leaf, f"{_PREFIX}{leaf.claim}"):
        return "policy.missing-prefix"
    return ""


def _elsewhere(reading: Reading, leaf: Leaf, path: str) -> bool:
    """Return whether the claim at `path` is the one that was meant: there, or where both are, with the right value."""
    return _has(reading, path) if not leaf.present else leaf.nearest == path


def _has(reading: Reading, path: str) -> bool:
    return reading.part(reading.claims, *path.split(".")) is not None


def _absent(leaf: Leaf) -> str:
    """Return a typing error for a claim that no token has; else that tokens of this kind do not have it."""
    from skrkit.token.catalogue import explain_claim

    if explain_claim(leaf.claim) is None:
        return "policy.claim-typo"
    known = _of_value(leaf.claim)
    return known if known == "policy.compliance-status" else "policy.claim-absent"


def _spelling(leaf: Leaf) -> str:
    from skrkit.policy.model import scalar_text

    wanted, have = scalar_text(leaf.expected) or "", scalar_text(leaf.found) or ""
    if isinstance(leaf.found, bool):
        odd = wanted.lower() in _TRUTHS and wanted not in ("true", "false")
        return "policy.boolean-text" if odd else ""
    return "policy.letter-case" if wanted.lower() == have.lower() else ""


def _of_value(claim: str) -> str:
    """Return the cause that another value of this claim has, by its last name."""
    name = claim.removeprefix(_PREFIX)
    last = name.rpartition(".")[2]
    if name.endswith(("-svn", "guestsvn")):
        return "policy.firmware-svn"
    known = _CAUSE_OF_CLAIM.get(name) or _CAUSE_OF_CLAIM.get(last)
    if known:
        return known
    return "policy.secure-boot" if name.startswith(_BOOT) else "policy.value"


def _of_authorities(reading: Reading) -> Iterator[Finding]:
    """Return why no authority of the policy is the token's issuer."""
    assert reading.decision is not None, "asked for a policy that was evaluated"
    issuer = reading.claims.get("iss")
    for clause in reading.decision.children:
        authority = getattr(clause, "authority", "")
        yield reading.find(
            _authority_cause(authority, issuer),
            "proved",
            expected=f"authority {issuer}" if isinstance(issuer, str) else "an iss",
            found=authority[:200],
            where=f"{clause.pointer}/authority",
            evidence=(clause.hint,) if clause.hint else (),
        )


def _authority_cause(authority: str, issuer: Json) -> str:
    from urllib.parse import urlsplit

    if authority.endswith("//") and authority.rstrip("/") == str(issuer).rstrip("/"):
        return "policy.trailing-slash"
    try:
        parts = urlsplit(authority)
    except ValueError:
        return "policy.authority-typo"
    odd = parts.scheme.lower() != "https" or parts.path.rstrip("/") != "" or parts.query or not parts.hostname
    return "policy.authority-typo" if odd or _is_misspelt(parts.hostname or "") else "policy.authority-region"


def _is_misspelt(host: str) -> bool:
    """Return whether a host looks like a provider's of Azure and is none: a shared one of no region."""
    from skrkit.token.providers import SHARED_PROVIDERS

    name, _, rest = host.lower().partition(".")
    if not name.startswith("shared") or not rest.endswith("attest.azure.net"):
        return not rest.endswith(("attest.azure.net", "attest.azure.us", "attest.azure.cn"))
    short = name.removeprefix("shared")
    return short not in SHARED_PROVIDERS.values() or rest != f"{short}.attest.azure.net"
