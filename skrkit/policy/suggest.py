"""`suggest`: release policies derived from a token, at three strengths, each clause with what it costs later.

Only `equals` is used, the one operator that is documented to work. So there is no floor: "this firmware or newer"
cannot be said, and a version that is pinned is lost with the next update. What is not pinned for that reason is listed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from skrkit.errors import UsageError
from skrkit.policy.claim_lifetime import Lasts, Lifetime, lifetime_of
from skrkit.policy.evaluate import evaluate
from skrkit.policy.lint_authority import host_of
from skrkit.policy.model import ReleasePolicy, Scalar, scalar_text
from skrkit.policy.parse import parse_policy
from skrkit.token.catalogue import TEE, explain_claim
from skrkit.token.providers import is_microsofts
from skrkit.wire import Json

_SOURCE = "Azure confidential computing, secure key release with confidential VMs"


@dataclass(frozen=True, slots=True, kw_only=True)
class SuggestedClause:
    """One condition of a suggestion: what the claim means, why it is asked, and how long the value lasts."""

    pointer: str
    claim: str
    value: Scalar
    meaning: str
    why: str
    lifetime: Lifetime

    def to_json(self) -> dict[str, Json]:
        """Return the clause as JSON members."""
        return {
            "pointer": self.pointer,
            "claim": self.claim,
            "equals": self.value,
            "meaning": self.meaning,
            "why": self.why,
            "lasts": self.lifetime.lasts.value,
            "made_again": self.lifetime.made_again,
            "firmware": self.lifetime.firmware,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A policy of one strength. `admits` says who gets the key; `left_out` what is not asked for, and why."""

    name: str
    admits: str
    policy: ReleasePolicy
    clauses: tuple[SuggestedClause, ...]
    left_out: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """Return the suggestion as JSON members; `policy` is the policy itself."""
        return {
            "name": self.name,
            "admits": self.admits,
            "policy": self.policy.fields(),
            "clauses": [clause.to_json() for clause in self.clauses],
            "left_out": list(self.left_out),
        }


class _Wanted(NamedTuple):
    """A claim to ask for. `nested`: it is part of the evidence. `only` are the values that may be asked for."""

    name: str
    why: str
    nested: bool = True
    only: tuple[str, ...] = ()


_COMPLIANT = ("azure-compliant-cvm", "azure-compliant-uvm")
_ANY = (
    _Wanted("x-ms-attestation-type", "The evidence is a TEE's.", only=("sevsnpvm", "tdxvm", "sgx")),
    _Wanted("x-ms-compliance-status", "Azure knows this paravisor and firmware as healthy.", only=_COMPLIANT),
    _Wanted("x-ms-sevsnpvm-is-debuggable", "The host cannot read the guest's memory.", only=("false",)),
    _Wanted("tdx_td_attributes_debug", "The host cannot read the guest's memory.", only=("false",)),
    _Wanted("x-ms-sgx-is-debuggable", "The host cannot read the enclave.", only=("false",)),
)
_BOOT = (
    _Wanted("secureboot", "What booted was signed.", nested=False, only=("true",)),
    _Wanted("x-ms-azurevm-debuggersdisabled", "No debugger was enabled.", nested=False, only=("true",)),
    _Wanted("x-ms-azurevm-testsigning-enabled", "Test-signed code was not allowed.", nested=False, only=("false",)),
    _Wanted("x-ms-sevsnpvm-vmpl", "The paravisor asked for the report, not the guest.", only=("0",)),
    _Wanted("x-ms-sevsnpvm-migration-allowed", "No migration agent is bound to the guest.", only=("false",)),
    _Wanted("x-ms-sevsnpvm-idkeydigest", "The paravisor is signed by this key."),
    _Wanted("x-ms-sevsnpvm-launchmeasurement", "The paravisor is this very one."),
    _Wanted("x-ms-sevsnpvm-hostdata", "The container runs under this policy."),
    _Wanted("tdx_mrtd", "The paravisor is this very one."),
    _Wanted("x-ms-sgx-mrsigner", "The enclave is signed by this key."),
)
_VM = (
    _Wanted("x-ms-azurevm-vmid", "It is this VM and no other.", nested=False),
    _Wanted("x-ms-runtime.vm-configuration.vmUniqueId", "It is this VM and no other."),
    _Wanted("x-ms-sgx-mrenclave", "It is this enclave and no other."),
)
_VERSIONS = tuple(
    f"x-ms-sevsnpvm-{part}" for part in ("bootloader-svn", "tee-svn", "snpfw-svn", "microcode-svn", "guestsvn")
)


def suggest_policies(claims: Mapping[str, Json]) -> tuple[Suggestion, Suggestion, Suggestion]:
    """Return three policies that hold for these claims, each stricter than the one before: kind, software, VM.

    `claims` are those of an attestation token, a guest's or the platform's; verify it first, or the policies are only
    as good as who wrote it. Raises `UsageError` where the least of the three could not be safe: no https `iss`, no
    evidence of a TEE, a debuggable guest, a guest that Azure does not call compliant.
    Source: Azure Key Vault, secure key release policy grammar; Azure Attestation, claim sets.
    """
    authority = _authority(claims)
    nested = isinstance(claims.get(TEE), Mapping)
    _refuse_unsafe(claims, nested)
    kind = list(_found(_ANY, claims, nested))
    software = [*kind, *_found(_BOOT, claims, nested)]
    machine = list(_found(_VM, claims, nested))
    if len(machine) > 1:  # the guest's vmid is the same id; the sources differ on whether a policy may ask x-ms-runtime
        machine = machine[:1]
    about = _value(_path("x-ms-attestation-type", nested), claims)
    return (
        _suggestion("any-compliant", _ADMITS_KIND.format(kind=about), authority, kind, claims),
        _suggestion("this-software", _ADMITS_SOFTWARE.format(kind=about), authority, software, claims),
        _suggestion("this-vm", _ADMITS_VM if machine else _ADMITS_NO_ID, authority, [*software, *machine], claims),
    )


_ADMITS_KIND = (
    "Any {kind} that this provider calls compliant, anybody's, in any tenant. That it is yours is left to the identity "
    "that may release."
)
_ADMITS_SOFTWARE = (
    "Any {kind} with this paravisor and these boot settings, anybody's. What runs in the guest is not measured here."
)
_ADMITS_VM = "This VM alone, with this paravisor and these boot settings."
_ADMITS_NO_ID = "As this-software: the token has no claim that tells one VM from another."


def _path(name: str, nested: bool) -> str:
    return f"{TEE}.{name}" if nested else name


def _authority(claims: Mapping[str, Json]) -> str:
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or not issuer.startswith("https://") or not host_of(issuer):
        _refuse("iss", "an https URL", issuer, "Pass the claims of an attestation token.")
    if not issuer.isascii() or not issuer.isprintable() or " " in issuer:
        _refuse("iss", "a URL in ASCII, without blanks", issuer, "Pass the claims of an attestation token.")
    return issuer


def _refuse_unsafe(claims: Mapping[str, Json], nested: bool) -> None:
    kind = _value(_path("x-ms-attestation-type", nested), claims)
    if scalar_text(kind) not in ("sevsnpvm", "tdxvm", "sgx"):
        fix = "Attest in a confidential VM: a token without hardware evidence proves no TEE."
        _refuse(_path("x-ms-attestation-type", nested), "sevsnpvm or tdxvm", kind, fix)
    for wanted in _ANY[2:]:
        at = _path(wanted.name, nested)
        value = _value(at, claims)
        if scalar_text(value) not in (None, "false"):
            _refuse(at, "false", value, "Take the token of a VM that is not debuggable: the host can read this one.")
    status = _value(_path("x-ms-compliance-status", nested), claims)
    if kind != "sgx" and scalar_text(status) not in _COMPLIANT:
        fix = "Attest in a compliant VM: a policy that leaves this out would release to outdated firmware too."
        _refuse(_path("x-ms-compliance-status", nested), " or ".join(_COMPLIANT), status, fix)


def _refuse(claim: str, expected: str, found: Json, fix: str) -> NoReturn:
    shown = "nothing" if found is None else json.dumps(found)[:80]
    raise UsageError(
        what="claims to derive a policy from", where=f"claim {claim}", expected=expected, found=shown, fix=fix,
        source=_SOURCE,
    )  # fmt: skip


def _value(path: str, claims: Mapping[str, Json]) -> Json:
    value: Json | Mapping[str, Json] = claims
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return None if isinstance(value, Mapping) else value


def _found(wanted: tuple[_Wanted, ...], claims: Mapping[str, Json], nested: bool) -> Iterator[tuple[str, Scalar, str]]:
    """Return path, value and reason of each wanted claim that the token has with a value that may be asked for."""
    for one in wanted:
        if not one.nested and not nested:
            continue
        path = _path(one.name, nested and one.nested)
        value = _value(path, claims)
        text = scalar_text(value)
        if text is None or value is None or isinstance(value, list | dict):
            continue
        fact = explain_claim(path)
        usable = text.isprintable() and text.strip("0 ") if not one.only else text in one.only  # a VM's hostdata is 0
        if usable and (fact is None or fact.allows(value)):
            yield path, value, one.why


def _suggestion(
    name: str, admits: str, authority: str, asked: list[tuple[str, Scalar, str]], claims: Mapping[str, Json]
) -> Suggestion:
    conditions = [{"claim": path, "equals": value} for path, value, _ in asked]
    clause = {"authority": authority, "allOf": conditions}
    policy = parse_policy(json.dumps({"version": "1.0.0", "anyOf": [clause]}))
    assert evaluate(policy, claims).holds  # each condition was read off these claims
    return Suggestion(
        name=name,
        admits=admits,
        policy=policy,
        clauses=tuple(
            SuggestedClause(
                pointer=f"/anyOf/0/allOf/{index}",
                claim=path,
                value=value,
                meaning=_meaning(path),
                why=why,
                lifetime=lifetime_of(path),
            )
            for index, (path, value, why) in enumerate(asked)
        ),
        left_out=tuple(_left_out(name, authority, {path for path, _, _ in asked}, claims)),
    )


def _meaning(path: str) -> str:
    fact = explain_claim(path)
    if fact is None:
        return "Not in the claims catalogue."
    return fact.meaning + (" (inferred)" if fact.inferred else "")


def _left_out(name: str, authority: str, asked: set[str], claims: Mapping[str, Json]) -> Iterator[str]:
    nested = isinstance(claims.get(TEE), Mapping)
    if not is_microsofts(host_of(authority)):
        yield f"{authority} is not one of Microsoft's shared providers: whoever runs it decides what its claims say."
    for wanted in _BOOT if name != "any-compliant" else ():
        value = _value(wanted.name if not wanted.nested else _path(wanted.name, nested), claims)
        if wanted.only and value is not None and scalar_text(value) not in wanted.only:
            yield f"{wanted.name}: it is {json.dumps(value)[:80]} in this token; {wanted.only[0]} would be asked for."
    versions = [path for part in _VERSIONS if _value(path := _path(part, nested), claims) is not None]
    if versions and name != "any-compliant":
        yield (
            f"{', '.join(versions)}: a floor would need greaterOrEquals, which is not documented to work, and equals "
            "is lost with the next update. x-ms-compliance-status stands for Azure's own floor."
        )
    guests = [f"x-ms-azurevm-os{part}" for part in ("type", "distro", "build") if f"x-ms-azurevm-os{part}" in claims]
    if guests and name == "this-vm":
        yield f"{', '.join(guests)}: the guest says these itself, and they rule out nobody."
    pinned = sorted(path for path in asked if lifetime_of(path).lasts in (Lasts.PARAVISOR, Lasts.FIRMWARE))
    if pinned:
        names = ", ".join(pinned)
        yield f"Before Azure updates the paravisor, add the new values of {names} in an anyOf, or drop them."
