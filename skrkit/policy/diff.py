"""`diff`: what two policies ask differently, and who could release under one and not under the other.

What a service would treat alike is no difference: white space, order, `true` for "true", a trailing slash, a group of
one, a condition twice. The effect is decided by the least tokens that meet the one, held against the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from skrkit.policy.model import AuthorityClause, Condition, Group, Operator, ReleasePolicy
from skrkit.policy.normal import Normal, Term, atoms_of, meets, normal, normal_forms, terms_of
from skrkit.wire import Json

ChangeKind = Literal["added", "removed", "changed", "moved"]


class Effect(Enum):
    """Who can release under the second policy, compared with the first."""

    SAME = "same"  # the same tokens
    STRICTER = "stricter"  # fewer, and none that could not before
    LOOSER = "looser"  # more, and all that could before
    OTHER = "other"  # some more and some less
    UNDECIDED = "undecided"  # operators whose meaning is not documented, or too many values to try


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference. `before` and `after` are JSON, None where there is none, and the pointers "" there."""

    kind: ChangeKind
    before: Json
    after: Json
    pointer_before: str
    pointer_after: str

    def to_json(self) -> dict[str, Json]:
        """Return the change as JSON members."""
        return {
            "kind": self.kind,
            "before": self.before,
            "after": self.after,
            "pointer_before": self.pointer_before,
            "pointer_after": self.pointer_after,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A token that one policy releases to and the other does not: of this issuer, with these claims and no other."""

    issuer: str
    claims: Mapping[str, str]

    def to_json(self) -> dict[str, Json]:
        """Return the token as JSON members."""
        return {"issuer": self.issuer, "claims": dict(self.claims)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDiff:
    """The differences, their effect, and a token for each issuer that gained or lost the key."""

    changes: tuple[Change, ...]
    effect: Effect
    gained: tuple[Witness, ...]
    lost: tuple[Witness, ...]

    def to_json(self) -> dict[str, Json]:
        """Return the difference as JSON members."""
        return {
            "effect": self.effect.value,
            "changes": [change.to_json() for change in self.changes],
            "gained": [witness.to_json() for witness in self.gained],
            "lost": [witness.to_json() for witness in self.lost],
        }


def diff_policies(before: ReleasePolicy, after: ReleasePolicy) -> PolicyDiff:
    """Return what the second policy asks differently from the first, and what that means for tokens.

    No change and the effect "same" are two things: a clause that another one covers may come or go without effect.
    """
    forms = normal_forms(before), normal_forms(after)
    differing = [issuer for issuer in {**forms[0], **forms[1]} if forms[0].get(issuer) != forms[1].get(issuer)]
    gained: list[Witness] = []
    lost: list[Witness] = []
    decided = True
    for issuer in differing:
        decided &= _compare(issuer, forms[0].get(issuer), forms[1].get(issuer), gained, lost)
    return PolicyDiff(
        changes=tuple(_changes(before, after, set(differing))),
        effect=_effect(bool(gained), bool(lost)) if decided else Effect.UNDECIDED,
        gained=tuple(gained),
        lost=tuple(lost),
    )


def _effect(gained: bool, lost: bool) -> Effect:
    if gained and lost:
        return Effect.OTHER
    return Effect.LOOSER if gained else Effect.STRICTER if lost else Effect.SAME


def _compare(
    issuer: str, before: Normal | None, after: Normal | None, gained: list[Witness], lost: list[Witness]
) -> bool:
    """Keep a token that only one of the two releases to, each way; return whether that is certain."""
    certain = True
    for first, second, found in ((before, after, gained), (after, before, lost)):
        terms = [] if second is None else terms_of(second)
        if terms is None:
            return False
        only = next((term for term in terms if first is None or not meets(term, first)), None)
        if only is not None:
            found.append(Witness(issuer=issuer, claims=_claims(only)))
            certain &= not (_is_opaque(before) or _is_opaque(after))
    return certain


def _is_opaque(form: Normal | None) -> bool:
    return form is not None and any(atom.operator is not Operator.EQUALS for atom in atoms_of(form))


def _claims(term: Term) -> dict[str, str]:
    asked = sorted(term, key=lambda atom: (atom.claim, atom.text))
    return {a.claim: a.text if a.operator is Operator.EQUALS else f"{a.operator.value} {a.text}" for a in asked}


@dataclass(slots=True)
class _Placed:
    """A condition where it stands. `context` are the rules above it, in normal form."""

    condition: Condition
    issuer: str
    context: tuple[str, ...]


def _changes(before: ReleasePolicy, after: ReleasePolicy, differing: set[str]) -> Iterator[Change]:
    old, new = _by_issuer(before, differing), _by_issuer(after, differing)
    for a, b in _renamed(old, new):
        yield Change(
            kind="changed",
            before={"authority": a.authority},
            after={"authority": b.authority},
            pointer_before=f"{a.pointer}/authority",
            pointer_after=f"{b.pointer}/authority",
        )
        del old[a.issuer], new[b.issuer]
    yield from (_whole("removed", clause) for issuer in old if issuer not in new for clause in old[issuer])
    yield from (_whole("added", clause) for issuer in new if issuer not in old for clause in new[issuer])
    for issuer in old:
        if issuer in new:
            yield from _inside(old[issuer], new[issuer])


def _by_issuer(policy: ReleasePolicy, differing: set[str]) -> dict[str, list[AuthorityClause]]:
    found: dict[str, list[AuthorityClause]] = {}
    for clause in policy.root:
        if clause.issuer in differing:
            found.setdefault(clause.issuer, []).append(clause)
    return found


def _renamed(
    old: dict[str, list[AuthorityClause]], new: dict[str, list[AuthorityClause]]
) -> list[tuple[AuthorityClause, AuthorityClause]]:
    """Return pairs that ask the same of two authorities, of which each policy has but one."""
    free: dict[Normal, list[AuthorityClause]] = defaultdict(list)
    for issuer, clauses in new.items():
        if issuer not in old and len(clauses) == 1:
            free[normal(clauses[0].group)].append(clauses[0])
    pairs = []
    for issuer, clauses in old.items():
        same = free[normal(clauses[0].group)] if issuer not in new and len(clauses) == 1 else []
        if same:
            pairs.append((clauses[0], same.pop(0)))
    return pairs


def _whole(kind: Literal["added", "removed"], clause: AuthorityClause) -> Change:
    is_new = kind == "added"
    return Change(
        kind=kind,
        before=None if is_new else clause.document(),
        after=clause.document() if is_new else None,
        pointer_before="" if is_new else clause.pointer,
        pointer_after=clause.pointer if is_new else "",
    )


def _inside(old: list[AuthorityClause], new: list[AuthorityClause]) -> Iterator[Change]:
    """Return the changes within the clauses of one issuer: condition by condition, the same ones first."""
    first, second = list(_placed(old)), list(_placed(new))
    first, second, _ = _struck(first, second, lambda one: (one.condition, one.context))
    first, second, same = _struck(first, second, lambda one: one.condition)
    moved = [(one, other) for one, other in same if one.context and other.context]  # one alone was in no group
    first, second, changed = _struck(first, second, lambda one: one.condition.claim)
    yield from (_pair("moved", one.condition, other.condition) for one, other in moved)
    yield from (_pair("changed", one.condition, other.condition) for one, other in changed)
    for one in first:
        yield Change(
            kind="removed",
            before=one.condition.document(),
            after=None,
            pointer_before=one.condition.pointer,
            pointer_after="",
        )
    for one in second:
        yield Change(
            kind="added",
            before=None,
            after=one.condition.document(),
            pointer_before="",
            pointer_after=one.condition.pointer,
        )
    if not (moved or changed or first or second):  # the same conditions at the same depth, grouped otherwise
        yield Change(
            kind="moved",
            before=[clause.group.document() for clause in old],
            after=[clause.group.document() for clause in new],
            pointer_before=old[0].group.pointer,
            pointer_after=new[0].group.pointer,
        )


def _pair(kind: ChangeKind, before: Condition, after: Condition) -> Change:
    return Change(
        kind=kind,
        before=before.document(),
        after=after.document(),
        pointer_before=before.pointer,
        pointer_after=after.pointer,
    )


def _struck(
    first: list[_Placed], second: list[_Placed], key: Callable[[_Placed], Hashable]
) -> tuple[list[_Placed], list[_Placed], list[tuple[_Placed, _Placed]]]:
    """Return what is left of both lists when pairs of the same key are taken out, and the pairs."""
    waiting: dict[Hashable, list[_Placed]] = defaultdict(list)
    for one in reversed(second):
        waiting[key(one)].append(one)
    left, pairs = [], []
    for one in first:
        same = waiting[key(one)]
        if same:
            pairs.append((one, same.pop()))
        else:
            left.append(one)
    taken = {id(other) for _, other in pairs}
    return left, [one for one in second if id(one) not in taken], pairs


def _placed(clauses: list[AuthorityClause]) -> Iterator[_Placed]:
    for clause in clauses:
        context = ("anyOf",) if len(clauses) > 1 else ()
        yield from _conditions(clause.group, clause.issuer, context)


def _conditions(group: Group, issuer: str, above: tuple[str, ...]) -> Iterator[_Placed]:
    alone = len(set(group.members)) == 1
    context = above if alone or above[-1:] == (group.rule.value,) else (*above, group.rule.value)
    for member in group.members:
        if isinstance(member, Condition):
            yield _Placed(member, issuer, context)
        else:
            yield from _conditions(member, issuer, context)
