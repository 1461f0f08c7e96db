"""What a clause as a whole asks for: whether it can hold, and what every token that meets it must be.

Two things are known of each condition and group. What it ensures: `allOf` ensures what one member does, `anyOf` what
each does. Which values it leaves to a claim: `allOf` those that all members leave, `anyOf` those that one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from skrkit.policy.claim_lifetime import Lasts, lifetime_of
from skrkit.policy.lint_rules import Draft
from skrkit.policy.model import AuthorityClause, Condition, Group, Operator, Rule
from skrkit.token.catalogue import TEE, explain_claim

# What a condition ensures of each token that meets it.
HARDWARE = "hardware"  # evidence of a TEE
COMPLIANT = "compliant"
NO_DEBUG = "no-debug"
DEBUG = "debug"
YOURS = "yours"  # something that not every such VM has
NESTED = "nested"  # the token is a guest's: the evidence is below x-ms-isolation-tee
FLAT = "flat"  # the token is the platform's or a container's: the evidence is at the top
CONTAINER = "container"

_DEBUG = frozenset({"x-ms-sevsnpvm-is-debuggable", "x-ms-sgx-is-debuggable", "tdx_td_attributes_debug"})
_EVIDENCE = ("x-ms-sevsnpvm-", "tdx_", "x-ms-sgx-")
_TEES = frozenset({"sevsnpvm", "tdxvm", "sgx"})
_OWN = frozenset({"x-ms-sevsnpvm-hostdata", "tdx_mrconfigid", "tdx_mrowner", "tdx_mrownerconfig"})
_COMPLIANT = {"azure-compliant-cvm": frozenset({COMPLIANT}), "azure-compliant-uvm": frozenset({COMPLIANT, CONTAINER})}
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a condition or group. `possible` is False when nothing can meet it."""

    ensures: frozenset[str] = _NOTHING
    values: dict[str, frozenset[str]] = field(default_factory=dict)
    possible: bool = True


Look: TypeAlias = Callable[[Condition], Known]
"""What is known of a condition: `known_of`, of the path and text that were meant."""


def clause_drafts(clause: AuthorityClause, look: Look) -> Iterator[Draft]:
    """Return what is odd about a clause: alternatives that can never hold, and what it fails to rule out."""
    drafts: list[Draft] = []
    known = _group(clause.group, look, drafts, clause.pointer)
    yield from drafts
    if known.possible:
        yield from _gaps(known.ensures)


def _gaps(ensures: frozenset[str]) -> Iterator[Draft]:
    if HARDWARE not in ensures:
        fix = f'Add {{"claim": "{TEE}.x-ms-attestation-type", "equals": "sevsnpvm"}} to allOf.'
        yield Draft("clause.no-tee", "no condition asks for a TEE", fix)
        return
    if NESTED not in ensures and FLAT in ensures and CONTAINER not in ensures:
        fix = f"For a key that a guest releases, write {TEE}. before each claim; for disk encryption, keep it."
        yield Draft("clause.platform", f"all claims are asked for at the top, none below {TEE}", fix)
    prefix = f"{TEE}." if NESTED in ensures else ""
    if DEBUG in ensures:
        yield Draft("clause.debug-wanted", "is-debuggable is asked to be true", "Write false.")
    elif NO_DEBUG not in ensures:
        fix = f'Add {{"claim": "{prefix}x-ms-sevsnpvm-is-debuggable", "equals": false}}.'
        rule = "clause.debug-implied" if COMPLIANT in ensures else "clause.debug"
        yield Draft(rule, "no condition rules a debuggable guest out", fix)
    if COMPLIANT not in ensures:
        fix = f'Add {{"claim": "{prefix}x-ms-compliance-status", "equals": "azure-compliant-cvm"}}.'
        yield Draft("clause.no-compliance", "no condition asks for x-ms-compliance-status", fix)
    if YOURS not in ensures:
        what = "nothing binds it to your VM, your workload or your configuration"
        yield Draft("clause.any-vm", what, "Let `skrkit policy suggest` derive a stricter one from your VM's token.")


def _group(group: Group, look: Look, drafts: list[Draft], above: str) -> Known:
    """Return what is known of a group. `above` is the clause's pointer: a draft says where it stands from there."""
    at = group.pointer[len(above) :]
    _twice(group, drafts, above)
    members = [
        look(member) if isinstance(member, Condition) else _group(member, look, drafts, above)
        for member in group.members
    ]
    if group.rule is Rule.ANY_OF:
        return _any_of(members)
    known = _all_of(members, drafts, at)
    if known.possible and {NESTED, FLAT} <= known.ensures:
        fix = f"For a guest, write {TEE}. before each claim of the evidence; for the platform, before none."
        what = f"claims below {TEE} and at the top are asked for together"
        drafts.append(Draft("clause.mixed-levels", what, fix, at))
        return Known(possible=False)
    return known


def _twice(group: Group, drafts: list[Draft], above: str) -> None:
    seen = set()
    for member in group.members:
        if member in seen:
            at = member.pointer[len(above) :]
            drafts.append(Draft("clause.twice", "the same stands in this group already", "Take it out.", at))
        seen.add(member)


def _any_of(members: list[Known]) -> Known:
    able = [member for member in members if member.possible]
    if not able:
        return Known(possible=False)
    first, *others = able
    ensures, values = first.ensures, dict(first.values)
    for other in others:
        ensures &= other.ensures
        values = {name: values[name] | other.values[name] for name in values.keys() & other.values.keys()}
    return Known(ensures, values)


def _all_of(members: list[Known], drafts: list[Draft], at: str) -> Known:
    if not all(member.possible for member in members):
        return Known(possible=False)
    ensures = _NOTHING.union(*(member.ensures for member in members))
    values: dict[str, frozenset[str]] = {}
    for member in members:
        for name, texts in member.values.items():
            left = values[name] & texts if name in values else texts
            if not left:
                asked = " and ".join(sorted(repr(text) for text in values[name] | texts))
                fix = "Keep one of them; for alternatives, put them into one anyOf."
                drafts.append(Draft("clause.never", f"{name} is asked to be {asked} at once", fix, at))
                return Known(possible=False)
            values[name] = left
    return Known(ensures, values)


def known_of(condition: Condition, path: str, text: str) -> Known:
    """Return what is known of a condition that asks for `text` at `path`: as written, but for misspellings."""
    if condition.operator is not Operator.EQUALS:
        return Known()
    return Known(_ensured(path, text), {path: frozenset((text,))})


def _ensured(path: str, text: str) -> frozenset[str]:
    name = path.removeprefix(f"{TEE}.")
    fact = explain_claim(path)
    found = set() if name == path else {NESTED, HARDWARE}
    if name in _DEBUG or name == "dbgstat":
        found.add(NO_DEBUG if text in ("false", "disabled") else DEBUG)
    if name == "x-ms-compliance-status":
        found |= _COMPLIANT.get(text, _NOTHING)
    if fact is None or lifetime_of(path).lasts is Lasts.VM or (name in _OWN and text.strip("0")):
        found.add(YOURS)
    if name.startswith(_EVIDENCE) or (name == "x-ms-compliance-status" and found) or _is_tee_type(name, text):
        found.add(HARDWARE)
    if name == path:
        found |= _level_at_top(name, text, HARDWARE in found)
    return frozenset(found)


def _is_tee_type(name: str, text: str) -> bool:
    return name == "x-ms-attestation-type" and text in _TEES


def _level_at_top(name: str, text: str, hardware: bool) -> frozenset[str]:
    """Return which kind of token has this claim at its top: a guest's, the platform's, or both."""
    if hardware or name.startswith("x-ms-runtime.vm-configuration"):
        return frozenset({FLAT})
    guests = name.startswith("x-ms-azurevm-") or name == "secureboot" or (name, text) == _GUEST_TYPE
    return frozenset({NESTED}) if guests else _NOTHING


_GUEST_TYPE = ("x-ms-attestation-type", "azurevm")
