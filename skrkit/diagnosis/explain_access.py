"""The access leg: what a 403 says of permission and firewall, held against the vault's own record."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from skrkit.diagnosis.finding import Finding
from skrkit.diagnosis.reading import Reading
from skrkit.wire import Json

_PERMISSION = r"does not have keys (\w+) permission"
_CALLER = r"\boid=([0-9A-Fa-f-]{36})\b"
_PRIVATE = r"not an approved private link|ublic network access is disabled"
_ROLE_ACTION = r"Action: '([^']{1,200})'"
_RELEASE_ROLE, _READ_ROLE = "Key Vault Crypto Service Release User", "Key Vault Reader"
_READ, _RELEASE = "read", "release/action"
_SET_PERMISSIONS = r"--key-permissions( [a-z]+)+"


def recognise(reading: Reading) -> Iterator[Finding]:
    """Return which permission or rule is in the way, and why the one that was given does not help."""
    refusal, words = reading.refusal, reading.refusal.words
    permission = re.search(_PERMISSION, words)
    if permission is not None:
        yield from _by_policy(reading, permission.group(1).lower())
    elif refusal.inner == "ForbiddenByRbac" or "Caller is not authorized to perform action" in words:
        yield from _by_role(reading)
    elif "Not authorized to access Microsoft.KeyVault/managedHsm" in words:
        yield _said(reading, "access.hsm-local-role", "a local role of the Managed HSM that covers release")
    elif refusal.inner == "ForbiddenByFirewall" or "Client address is not authorized" in words:
        yield _firewall(reading)
    elif refusal.inner == "ForbiddenByConnection" or re.search(_PRIVATE, words):
        yield _connection(reading)
    elif refusal.code == "AuthorizationFailed":
        yield _said(reading, "access.operator-role", "a role that covers the action at this scope")
    elif "security domain" in words.lower() and refusal.service == "hsm":
        yield _said(reading, "access.hsm-not-activated", "an activated Managed HSM")


def _said(reading: Reading, cause: str, expected: str) -> Finding:
    return reading.find(cause, "likely", expected=expected, found=str(reading.refusal)[:300])


def _entries(reading: Reading) -> list[Mapping[str, Json]]:
    found = reading.part(reading.case.vault, "properties", "accessPolicies")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _permissions(entry: Mapping[str, Json]) -> set[str]:
    granted = entry.get("permissions")
    keys = granted.get("keys") if isinstance(granted, dict) else None
    return {str(name).lower() for name in keys} if isinstance(keys, list) else set()


def _caller(reading: Reading) -> str:
    """The object id that the vault saw, else that of the access token: lower case, empty where not known."""
    said = re.search(_CALLER, reading.refusal.words)
    oid = said.group(1) if said else reading.case.access_token.get("oid") or reading.case.asked.get("object_id")
    return oid.lower() if isinstance(oid, str) else ""


def _by_policy(reading: Reading, permission: str) -> Iterator[Finding]:
    """Return why an access policy does not give `permission`: not there, of another object id, not known yet."""
    caller, entries = _caller(reading), _entries(reading)
    own = [entry for entry in entries if caller and str(entry.get("objectId", "")).lower() == caller]
    if permission != "release":
        yield _keeping(_other_permission(reading, permission), own, permission)
        return
    if any("release" in _permissions(entry) for entry in own):
        yield reading.find(
            "access.not-propagated",
            "proved",
            expected=f"release for object id {caller}",
            found="it stands in the vault's record, and the vault does not go by it yet",
            evidence=("The vault's record as Resource Manager shows it has the grant.",),
        )
        return
    others = [str(entry.get("objectId")) for entry in entries if "release" in _permissions(entry)]
    if others and caller:
        yield _stale(reading, caller, others)
    missing = reading.find(
        "access.release-missing",
        "proved" if entries and caller and not others else "likely" if not others else "possible",
        expected=f"release among the key permissions of {caller or 'the caller'}",
        found=", ".join(sorted(set().union(*map(_permissions, own)))) or "no key permission",
        where="/properties/accessPolicies" if entries else "",
    )
    yield _keeping(missing, own, permission)
    if not entries:
        yield from _unknown_record(reading)


def _keeping(finding: Finding, own: list[Mapping[str, Json]], permission: str) -> Finding:
    """Return the finding with a command that names what the caller may do already: it sets all key permissions."""
    had = {name for name in set().union(*map(_permissions, own)) if re.fullmatch(r"[a-z]{1,40}", name)}
    if not had:
        return finding
    wanted = " ".join(sorted(had | {permission}))
    return replace(finding, command=re.sub(_SET_PERMISSIONS, f"--key-permissions {wanted}", finding.command))


def _stale(reading: Reading, caller: str, others: list[str]) -> Finding:
    """Return that the grant names another object id. Proved where the VM's identity of today is the caller."""
    today = reading.part(reading.case.vm, "identity", "principalId")
    proved = isinstance(today, str) and today.lower() == caller
    return reading.find(
        "access.stale-object-id",
        "proved" if proved else "likely",
        expected=f"release for {caller}",
        found=f"release for {', '.join(others)[:200]}",
        where="/properties/accessPolicies",
        evidence=("The VM's identity of today is the caller, and no entry names it.",) if proved else (),
    )


def _unknown_record(reading: Reading) -> Iterator[Finding]:
    for cause, found in (
        ("access.not-propagated", "a grant that may be new"),
        ("access.stale-object-id", "a grant that may be of an earlier identity"),
        ("access.policy-mode", "a grant that may be a role"),
    ):
        yield reading.find(cause, "possible", expected="a grant that the vault goes by", found=found)


def _other_permission(reading: Reading, permission: str) -> Finding:
    return reading.find(
        "access.get-missing",
        "likely",
        expected=f"{permission} among the caller's key permissions, or a client that does not need it",
        found=f"no permission to {permission}",
        evidence=("Release was not asked: the client needs another permission before.",),
    )


def _by_role(reading: Reading) -> Iterator[Finding]:
    caller = _caller(reading)
    action = re.search(_ROLE_ACTION, reading.refusal.words)
    needed = action.group(1) if action else f"Microsoft.KeyVault/vaults/keys/{_READ if reading.reads_key else _RELEASE}"
    granted = [str(entry.get("objectId")) for entry in _entries(reading) if "release" in _permissions(entry)]
    if granted and reading.part(reading.case.vault, "properties", "enableRbacAuthorization"):
        ignored = reading.find(
            "access.rbac-mode",
            "proved",
            expected=f"a role with {needed}",
            found="an access policy with release, which this vault ignores",
            where="/properties/enableRbacAuthorization",
            evidence=(f"access policies with release: {', '.join(granted)[:200]}",),
        )
        yield _with_role(ignored, needed)
    missing = reading.find(
        "access.role-missing",
        "likely",
        expected=f"a role with {needed}",
        found="no assignment that covers it",
        evidence=(f"caller: {caller}",) if caller else (),
    )
    missing = _with_role(missing, needed)
    if "/keys/release/" in needed:
        yield missing
        found = "a role that may be Key Vault Crypto User"
        yield reading.find("access.wrong-role", "possible", expected=f"a role with {needed}", found=found)
    else:
        yield missing
        found = "a client that does something else than release"
        yield reading.find("access.get-missing", "possible", expected="a release", found=found)
    if not reading.case.vault:
        found = "a grant that may be an access policy"
        yield reading.find("access.rbac-mode", "possible", expected="a role", found=found)
    found = "a role that may be minutes old"
    yield reading.find("access.not-propagated", "possible", expected="a role that works already", found=found)


def _with_role(finding: Finding, action: str) -> Finding:
    """Return the finding with the role that covers the action: who only reads keys gets none that releases them."""
    if not action.endswith("/keys/read"):
        return finding
    fix, command = (text.replace(_RELEASE_ROLE, _READ_ROLE) for text in (finding.fix, finding.command))
    return replace(finding, fix=fix, command=command)


def _firewall(reading: Reading) -> Finding:
    action = reading.part(reading.case.vault, "properties", "networkAcls", "defaultAction")
    return reading.find(
        "access.firewall-address",
        "proved" if str(action).lower() == "deny" else "likely",
        expected="a rule that lets this address or subnet in",
        found=f"client address {reading.names.get('address', 'not said')}, and none for it",
        where="/properties/networkAcls" if action else "",
    )


def _connection(reading: Reading) -> Finding:
    public = reading.part(reading.case.vault, "properties", "publicNetworkAccess")
    return reading.find(
        "access.private-only",
        "proved" if str(public).lower() == "disabled" else "likely",
        expected="a connection by private link",
        found="a public one",
        where="/properties/publicNetworkAccess" if public else "",
    )
