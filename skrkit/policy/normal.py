"""Clauses in normal form: what a service would treat alike looks alike. And the least tokens that meet a form.

Groups within groups of the same rule are one group, a group of one is its member, order and repetition are gone, and
all clauses of one issuer are one `anyOf`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from skrkit.policy.model import Condition, Group, Operator, ReleasePolicy, Rule

MAX_TERMS = 4096  # twelve anyOf of two within one allOf have as many; published policies have one or two


@dataclass(frozen=True, slots=True)
class Atom:
    """A condition without its place: claim, operator, value in normal form."""

    claim: str
    operator: Operator
    text: str


@dataclass(frozen=True, slots=True)
class Form:
    """A group in normal form: two members or more, of the other rule or atoms."""

    rule: Rule
    members: frozenset[Atom | Form]


Normal: TypeAlias = "Atom | Form"


def normal_forms(policy: ReleasePolicy) -> dict[str, Normal]:
    """Return what the policy asks of the tokens of each issuer."""
    by_issuer: dict[str, list[Normal]] = {}
    for clause in policy.root:
        by_issuer.setdefault(clause.issuer, []).append(normal(clause.group))
    return {issuer: _joined(Rule.ANY_OF, forms) for issuer, forms in by_issuer.items()}


def normal(node: Condition | Group) -> Normal:
    """Return the normal form of a condition or group."""
    if isinstance(node, Condition):
        return Atom(node.claim, node.operator, node.text)
    return _joined(node.rule, [normal(member) for member in node.members])


def _joined(rule: Rule, forms: list[Normal]) -> Normal:
    members: set[Normal] = set()
    for form in forms:
        if isinstance(form, Form) and form.rule is rule:
            members |= form.members
        else:
            members.add(form)
    return next(iter(members)) if len(members) == 1 else Form(rule, frozenset(members))


def atoms_of(form: Normal) -> Iterator[Atom]:
    """Return every atom in a form, in no particular order."""
    if isinstance(form, Atom):
        yield form
        return
    for member in form.members:
        yield from atoms_of(member)


Term: TypeAlias = "frozenset[Atom]"
"""A token that has what these atoms ask for, and nothing else."""


def terms_of(form: Normal) -> list[Term] | None:
    """Return the least tokens that meet a form, the smallest first; None when there are more than `MAX_TERMS`.

    A token that would need two values of one claim is left out. Conditions with another operator than `equals` are
    taken as met on their own, since what they mean is not documented.
    """
    found = _terms(form)
    return None if found is None else sorted(found, key=lambda term: (len(term), sorted(map(_key, term))))


def _terms(form: Normal) -> set[Term] | None:
    if isinstance(form, Atom):
        return {frozenset((form,))}
    atoms = frozenset(member for member in form.members if isinstance(member, Atom))
    below = [_terms(member) for member in form.members if isinstance(member, Form)]
    if form.rule is Rule.ANY_OF:
        found = {frozenset((atom,)) for atom in atoms}
    else:
        found = {atoms} if _is_possible(atoms) else set()
    for inner in below:
        if inner is None:
            return None
        if form.rule is Rule.ANY_OF:
            found |= inner
        elif len(inner) * len(found) > MAX_TERMS:
            return None
        else:
            found = {joined for left in found for right in inner if _is_possible(joined := left | right)}
    return found if len(found) <= MAX_TERMS else None


def _key(atom: Atom) -> tuple[str, str, str]:
    return atom.claim, atom.operator.value, atom.text


def _is_possible(term: Term) -> bool:
    claims = [atom.claim for atom in term if atom.operator is Operator.EQUALS]
    return len(set(claims)) == len(claims)


def meets(term: Term, form: Normal) -> bool:
    """Return whether a token meets a form.

    Forms have no negation: a token that has more than the term meets it as well. So one form implies another exactly
    if each of its terms meets the other.
    """
    if isinstance(form, Atom):
        return form in term
    if form.rule is Rule.ANY_OF and not term.isdisjoint(form.members):
        return True  # without asking each of a thousand alternatives
    answers = (meets(term, member) for member in form.members)
    return any(answers) if form.rule is Rule.ANY_OF else all(answers)
