"""`repairs`: the smallest changes after which a policy holds for given claims, each marked safe or dangerous.

Safe is what corrects the spelling of the same intent: a path at the wrong level, letter case, a boolean's form, an
authority's slashes, another region's shared provider. Whatever lets a machine pass that the policy meant to keep out is
dangerous, however small. Each repair is evaluated: one that does not hold is never offered.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from skrkit.errors import PolicyError
from skrkit.policy.evaluate import evaluate
from skrkit.policy.model import AuthorityClause, Group, ReleasePolicy, conditions_of
from skrkit.policy.parse import parse_policy
from skrkit.policy.repair_authority import authority_mends
from skrkit.policy.repair_condition import Strategy, group_mends
from skrkit.policy.repair_edit import Edit, applied
from skrkit.wire import Json

MAX_REPAIRS = 8
MAX_CONDITIONS = 200  # of one clause; with more in the way, no change is small
MAX_CLAUSES = 4  # of a policy for every region, the nearest few; the others would be repaired in the same way


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """One way to make a policy hold. `edits` are in the policy's order, `policy` is the changed one.

    `safe` is False when one edit is dangerous; `why` says what that edit gives away, or why none does.
    """

    edits: tuple[Edit, ...]
    safe: bool
    why: str
    policy: ReleasePolicy

    @property
    def count(self) -> int:
        """How many edits it takes."""
        return len(self.edits)

    def to_json(self) -> dict[str, Json]:
        """Return the repair as JSON members; `policy` is the changed policy."""
        return {
            "safe": self.safe,
            "why": self.why,
            "count": self.count,
            "edits": [edit.to_json() for edit in self.edits],
            "policy": self.policy.fields(),
        }


def repairs(policy: ReleasePolicy, claims: Mapping[str, Json]) -> tuple[Repair, ...]:
    """Return the smallest changes that make the policy hold for these claims: safe ones first, then by edits.

    None for a policy that holds, and for claims without an `iss`: no authority fits them. None from a clause of more
    than `MAX_CONDITIONS`. `claims` are taken as they
    are; a repair after a token that nobody verified is as good as that token.
    """
    if evaluate(policy, claims).holds:
        return ()
    document = policy.fields()
    found: dict[tuple[AuthorityClause, ...], Repair] = {}
    for clause, before in _nearest(policy, claims):
        adds = any(edit.kind == "add authority" for edit in before)
        if adds and any(repair.safe for repair in found.values()):
            break  # a clause for this issuer can be mended: another one is not needed
        for inner in _inside(clause, claims):
            moved = [_rebased(edit, clause.pointer, f"/anyOf/{len(policy.root)}") for edit in inner] if adds else inner
            made = _made(document, [*before, *moved], claims)
            if made is not None:
                found.setdefault(made.policy.root, made)
    return tuple(sorted(found.values(), key=lambda repair: (not repair.safe, repair.count))[:MAX_REPAIRS])


def _inside(clause: AuthorityClause, claims: Mapping[str, Json]) -> Iterator[list[Edit]]:
    """Return the edits of each strategy that can make the clause's group hold, none twice."""
    seen: list[list[Edit]] = []
    if sum(1 for _ in itertools.islice(conditions_of(clause.group), MAX_CONDITIONS + 1)) > MAX_CONDITIONS:
        return
    for strategy in Strategy:
        edits = group_mends(clause.group, claims, strategy)
        if edits is not None and edits not in seen:
            seen.append(edits)
            yield edits


def _rebased(edit: Edit, old: str, new: str) -> Edit:
    return replace(edit, pointer=new + edit.pointer[len(old) :])


def _nearest(policy: ReleasePolicy, claims: Mapping[str, Json]) -> list[tuple[AuthorityClause, list[Edit]]]:
    """Return the clauses to begin with, and the edits that make each apply: none, where it applies already."""
    found: dict[tuple[bool, int, Group], tuple[AuthorityClause, list[Edit]]] = {}
    for clause in policy.root:
        edits = authority_mends(clause, claims)
        if edits is not None:
            adds = any(edit.kind == "add authority" for edit in edits)
            found.setdefault((adds, len(edits), clause.group), (clause, edits))
    return [found[key] for key in sorted(found, key=lambda key: key[:2])][:MAX_CLAUSES]


def _made(document: dict[str, Json], edits: list[Edit], claims: Mapping[str, Json]) -> Repair | None:
    try:
        changed = parse_policy(json.dumps(applied(document, edits)))
    except PolicyError:  # a value from the claims that no policy can carry
        return None
    if not evaluate(changed, claims).holds:
        return None
    dangers = [edit.why for edit in edits if not edit.safe]
    ordered = tuple(sorted(edits, key=lambda edit: edit.order))
    why = " ".join(dict.fromkeys(dangers or [edit.why for edit in ordered]))
    return Repair(edits=ordered, safe=not dangers, why=why, policy=changed)
