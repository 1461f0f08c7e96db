"""The edits that make a group hold for claims: spelling first, then what the strategy allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum

from skrkit.policy.claim_lifetime import Lasts, lifetime_of
from skrkit.policy.evaluate import ask
from skrkit.policy.explain import elsewhere, nearest_claim
from skrkit.policy.lint_condition import path_draft, value_draft
from skrkit.policy.model import Condition, Group, Operator, Rule, Scalar, scalar_text
from skrkit.policy.repair_edit import Edit
from skrkit.token.catalogue import TEE, explain_claim
from skrkit.token.claim_fact import ClaimType
from skrkit.wire import Json


class Strategy(Enum):
    """What may be done with a condition that no spelling mends."""

    SPELLING = "spelling"  # nothing
    VALUE = "value"  # take the token's value, or drop it where the token has no such claim
    DROP = "drop"


_DEBUG = ("x-ms-sevsnpvm-is-debuggable", "tdx_td_attributes_debug", "x-ms-sgx-is-debuggable", "dbgstat")
_PLAIN_LETTERS = (ClaimType.HEX, ClaimType.GUID, ClaimType.BOOLEAN)  # of which a capital means the same
_GIVES_AWAY = {
    Lasts.VM: "any other VM or workload passes too",
    Lasts.FIRMWARE: "other firmware passes too, an older and weaker one as well",
    Lasts.PARAVISOR: "another paravisor passes too, an older one as well",
    Lasts.SETTING: "a VM that is configured or booted otherwise passes too",
}


def group_mends(group: Group, claims: Mapping[str, Json], strategy: Strategy) -> list[Edit] | None:
    """Return the edits that make a group hold for these claims, none where it does; None where nothing can."""
    every = group.rule is Rule.ALL_OF
    found = [_member(member, claims, strategy, may_drop=every and len(group.members) > 1) for member in group.members]
    if not every:
        return min((edits for edits in found if edits is not None), key=_weight, default=None)
    if any(edits is None for edits in found):
        return None
    whole = {member.pointer for member in group.members}
    dropped = [edit for edits in found for edit in edits or () if edit.after is None and edit.pointer in whole]
    if len(dropped) == len(group.members):  # an empty list would be no policy
        return None
    return [edit for edits in found for edit in edits or ()]


def _weight(edits: list[Edit]) -> tuple[int, int]:
    return sum(not edit.safe for edit in edits), len(edits)


def _member(
    member: Condition | Group, claims: Mapping[str, Json], strategy: Strategy, *, may_drop: bool
) -> list[Edit] | None:
    if isinstance(member, Group):
        return group_mends(member, claims, strategy)
    answer = ask(member, claims)
    if answer.holds:
        return []
    found = answer.found if answer.present else None
    spelt = _operator(member, found, claims) or _spelling(member, found, claims)
    if spelt is not None or strategy is Strategy.SPELLING:
        return spelt
    if strategy is Strategy.VALUE:
        taken = _taken(member, found, claims)
        if taken is not None:
            return taken
    return [_dropped(member)] if may_drop else None


def _operator(condition: Condition, found: Json, claims: Mapping[str, Json]) -> list[Edit] | None:
    """Return the edit from an operator that is not documented to work to `equals`, where the claim would satisfy it."""
    if condition.operator is Operator.EQUALS or not ask(condition, claims, extended=True).holds:
        return None
    value = _as_scalar(found)
    if value is None:
        return None
    edit = Edit(
        kind="operator",
        pointer=condition.pointer,
        before=condition.document(),
        after={"claim": condition.claim, "equals": value},
        safe=True,
        why="The value satisfies what was asked, and equals asks for more: for this value alone.",
    )
    return [edit]


def _spelling(condition: Condition, found: Json, claims: Mapping[str, Json]) -> list[Edit] | None:
    """Return the edits that write the same intent as the token has it: the claim's path, the value, or both."""
    if condition.operator is not Operator.EQUALS:
        return None
    value = _same_value(condition.claim, condition.value, found)
    if value is not None:
        return [_value_edit(condition, value, safe=True, why="It is the same value, written as the token has it.")]
    for path, why in _same_paths(condition.claim, claims):
        there = _at(path, claims)
        edit = _path_edit(condition, path, safe=True, why=why)
        if scalar_text(there) == condition.text:
            return [edit]
        value = _same_value(path, condition.value, there)
        if value is not None:
            same = "It is the same value, written as the token has it."
            return [edit, _value_edit(condition, value, safe=True, why=same)]
    return None


def _same_paths(path: str, claims: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """Return other paths that can only mean the same claim, and why: another level, another spelling, both."""
    named = path_draft(path)
    meant = path if named is None else named[1]
    name = meant.removeprefix(f"{TEE}.")
    for other in (meant, f"{TEE}.{name}", name):
        if other == path or explain_claim(other) is None or _is_guests(other):
            continue
        level = "at the level where the token has it"
        yield other, f"It is the same claim, {level if meant == path else 'as Azure Attestation spells it'}."
    nearest = nearest_claim(path, claims)
    if nearest is not None and nearest.lower() == path.lower() and explain_claim(path) is None:
        yield nearest, "It is the same claim, in the letters that the token has."


def _is_guests(path: str) -> bool:
    """Return whether a guest may write what stands there: in a container's token x-ms-runtime is all its own."""
    return path.startswith("x-ms-runtime") or lifetime_of(path).lasts is Lasts.GUEST


def _same_value(path: str, value: Scalar, found: Json) -> Scalar | None:
    """Return the token's value where the policy's is the same, written otherwise; None where it is another one.

    Letter case is spelling in hex, ids, booleans and the few documented words, and nowhere else: it counts in base64.
    """
    have, wanted = _as_scalar(found), scalar_text(value)
    text = scalar_text(found)
    if have is None or wanted is None or text is None or text == wanted:
        return None
    fact = explain_claim(path)
    meant = None if fact is None else value_draft(fact, value)
    if meant is not None and scalar_text(meant[1]) == text:
        return have
    if fact is not None and fact.type in _PLAIN_LETTERS and wanted.strip().lower() == text.lower():
        return have
    return have if wanted.strip() == text else None


def _taken(condition: Condition, found: Json, claims: Mapping[str, Json]) -> list[Edit] | None:
    """Return the edit that takes over what the token says, whatever was meant."""
    value = _as_scalar(found)
    if value is not None:
        return [_judged(condition, condition.claim, value)]
    if condition.operator is not Operator.EQUALS:
        return None
    for path, why in _same_paths(condition.claim, claims):
        there = _as_scalar(_at(path, claims))
        if there is not None:
            return [_path_edit(condition, path, safe=True, why=why), _judged(condition, path, there)]
    other = elsewhere(condition.claim, condition.text, claims)
    if other is None:
        return None
    why = f"{other} is another claim of the same name: see who writes it before you trust it."
    return [_path_edit(condition, other, safe=False, why=why)]


def _judged(condition: Condition, path: str, value: Scalar) -> Edit:
    """Return the edit that asks for the token's value. Asking that nobody can debug the guest gives nothing away."""
    text = scalar_text(value)
    if path.removeprefix(f"{TEE}.") in _DEBUG and text in ("false", "disabled"):
        why = "It asks for a guest whose memory the host cannot read, as every policy should."
        return _value_edit(condition, value, safe=True, why=why)
    return _value_edit(condition, value, safe=False, why=_danger(path, f"with {text!r}"))


def _dropped(condition: Condition) -> Edit:
    return Edit(
        kind="drop condition",
        pointer=condition.pointer,
        before=condition.document(),
        after=None,
        safe=False,
        why=_danger(condition.claim, "without it"),
    )


def _danger(path: str, how: str) -> str:
    """Return what a policy gives away when a condition on this claim goes, or asks for the token's own value."""
    named = path_draft(path)
    name = (path if named is None else named[1]).removeprefix(f"{TEE}.")
    if name in _DEBUG:
        gives = "a guest whose memory the host can read passes"
    elif name == "x-ms-attestation-type":
        gives = "another kind of machine passes, one without memory encryption too"
    elif name == "x-ms-compliance-status":
        gives = "a VM passes whose paravisor or firmware Azure does not call healthy"
    else:
        gives = _GIVES_AWAY.get(lifetime_of(name).lasts, "tokens pass that the policy kept out")
    return f"{path} {how}: {gives}."


def _value_edit(condition: Condition, value: Scalar, *, safe: bool, why: str) -> Edit:
    if condition.operator is not Operator.EQUALS:
        after: Json = {"claim": condition.claim, "equals": value}
        return Edit(
            kind="operator", pointer=condition.pointer, before=condition.document(), after=after, safe=safe, why=why
        )
    at = f"{condition.pointer}/equals"
    return Edit(kind="value", pointer=at, before=condition.value, after=value, safe=safe, why=why)


def _path_edit(condition: Condition, path: str, *, safe: bool, why: str) -> Edit:
    at = f"{condition.pointer}/claim"
    return Edit(kind="claim path", pointer=at, before=condition.claim, after=path, safe=safe, why=why)


def _as_scalar(value: Json) -> Scalar | None:
    if value is None or isinstance(value, list | dict) or scalar_text(value) is None:
        return None
    return value


def _at(path: str, claims: Mapping[str, Json]) -> Json:
    value: Json | Mapping[str, Json] = claims
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return None if isinstance(value, Mapping) else value
