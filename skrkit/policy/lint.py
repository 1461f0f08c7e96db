"""`lint`: what is wrong with a policy, or odd, before a key hangs on it. Nothing is sent, nothing is evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from skrkit.encoding import json_value
from skrkit.errors import ParseError
from skrkit.policy.lint_authority import authority_drafts, host_of
from skrkit.policy.lint_clause import Known, clause_drafts, known_of
from skrkit.policy.lint_condition import condition_drafts, path_draft, value_draft
from skrkit.policy.lint_rules import Draft, LintFinding, Severity, placed
from skrkit.policy.model import AuthorityClause, Condition, Group, ReleasePolicy, conditions_of, scalar_text
from skrkit.policy.parse import MAX_POLICY_BYTES, salvage_policy
from skrkit.policy.text import PolicyText, open_policy_text
from skrkit.token.catalogue import explain_claim
from skrkit.token.providers import PUBLIC_SUFFIX, is_maa_host

MAX_SEARCHES = 16  # similar spellings are looked for of the first so many unknown names: each takes a millisecond
LARGE_BYTES = 30_000
_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def lint_policy(policy: ReleasePolicy, *, zone: str = PUBLIC_SUFFIX) -> tuple[LintFinding, ...]:
    """Return every finding on a policy, errors first, then warnings, then notes; each in the policy's order.

    Claims are held against the claims catalogue, authorities against the names of Azure Attestation's providers.
    Neither is asked: a provider that exists and a claim that a token has are for `evaluate` to say. `zone` is where
    the providers of the cloud have their names that the key is in: ".attest.azure.us".
    """
    return _sorted(_Linter(zone).policy(policy))


def lint_bytes(data: bytes, *, zone: str = PUBLIC_SUFFIX) -> tuple[LintFinding, ...]:
    """Return every finding on a policy as handed over: JSON, base64url, or a vault's bundle. Never raises.

    What breaks the grammar is found by the name of its rule ("grammar.list-empty"), each of them and not the first
    alone, and what can be read of the rest is looked at as well.
    """
    opened = open_policy_text(data)
    return _sorted([*opened.findings, *_read(opened, zone)])


def has_errors(findings: Iterable[LintFinding]) -> bool:
    """Return whether one of the findings must be mended."""
    return any(finding.severity is Severity.ERROR for finding in findings)


def _sorted(findings: Iterable[LintFinding]) -> tuple[LintFinding, ...]:
    return tuple(sorted(findings, key=lambda finding: _ORDER[finding.severity]))


def _read(opened: PolicyText, zone: str) -> Iterator[LintFinding]:
    try:
        value = json_value(opened.json, what="release policy", where='""', limit=MAX_POLICY_BYTES)
    except ParseError as error:
        if not opened.findings:  # what is wrong with the text as such has been found already
            what = f"expected {error.expected}, found {error.found}"
            yield placed(Draft("grammar.not-json", what, "Write the policy as one JSON object."), "")
        return
    found = salvage_policy(value)
    linter = _Linter(zone)
    if found.policy is not None:
        yield from linter.policy(found.policy)
        return
    for broken in found.errors:
        what = f"{broken.what}: expected {broken.expected}, found {broken.found}"
        where = broken.where if broken.where.startswith("/") else ""
        yield placed(Draft(f"grammar.{broken.rule}", what, broken.fix), where)
    for clause in found.clauses:
        yield from linter.clause(clause)
    for authority, pointer in found.authorities:
        yield from linter.authority(authority, pointer)
    for condition in found.conditions:
        yield from (placed(draft, condition.pointer) for draft in linter.condition(condition, maa=True))


class _Linter:
    """One run over one policy. A policy for every region asks the same of each: what was found once is kept."""

    def __init__(self, zone: str) -> None:
        self._zone = zone
        self._paths: dict[str, tuple[Draft, str] | None] = {}
        self._conditions: dict[Condition, tuple[tuple[Draft, ...], Known]] = {}
        self._groups: dict[tuple[bool, Group], tuple[Draft, ...]] = {}
        self._searches = 0

    def policy(self, policy: ReleasePolicy) -> Iterator[LintFinding]:
        if policy.version != "1.0.0":
            draft = Draft("policy.version", f"the version is {policy.version}", "Write 1.0.0.", "/version")
            yield placed(draft, "")
        if len(policy.compact) > LARGE_BYTES:
            what = f"the policy has {len(policy.compact)} bytes without white space"
            yield placed(Draft("policy.size", what, "Leave out the regions that you do not use."), "")
        seen: dict[str, str] = {}
        for clause in policy.root:
            if clause.issuer in seen:
                what = f"{clause.issuer} has a clause already, at {seen[clause.issuer]}"
                fix = "Put both groups into one clause, or take one out."
                yield placed(Draft("authority.twice", what, fix, "/authority"), clause.pointer)
            seen.setdefault(clause.issuer, clause.pointer)
            yield from self.clause(clause)

    def clause(self, clause: AuthorityClause) -> Iterator[LintFinding]:
        yield from self.authority(clause.authority, clause.pointer + "/authority")
        maa = is_maa_host(host_of(clause.authority))
        drafts = self._groups.get((maa, clause.group))
        if drafts is None:
            drafts = self._groups[maa, clause.group] = tuple(self._group(clause, maa=maa))
        yield from [placed(draft, clause.pointer) for draft in drafts]

    def authority(self, authority: str, pointer: str) -> Iterator[LintFinding]:
        search = is_maa_host(host_of(authority)) or self._may_search()
        for draft in authority_drafts(authority, search=search, zone=self._zone):
            yield placed(draft, pointer)

    def _group(self, clause: AuthorityClause, *, maa: bool) -> Iterator[Draft]:
        """Return what there is to say below the authority, placed from the clause on: it is the same in each alike."""
        for condition in conditions_of(clause.group):
            below = condition.pointer[len(clause.pointer) :]
            for draft in self.condition(condition, maa=maa):
                yield draft._replace(at=below + draft.at)
        yield from clause_drafts(clause, self._known)

    def condition(self, condition: Condition, *, maa: bool) -> Iterator[Draft]:
        """Return what is odd about a condition. Another authority than Azure Attestation has claims of its own."""
        return (draft for draft in self._looked_at(condition)[0] if maa or draft.id != "claim.unknown")

    def _known(self, condition: Condition) -> Known:
        return self._looked_at(condition)[1]

    def _looked_at(self, condition: Condition) -> tuple[tuple[Draft, ...], Known]:
        found = self._conditions.get(condition)
        if found is None:
            named = self._path(condition.claim)
            path = condition.claim if named is None else named[1]
            drafts = (*(() if named is None else named[:1]), *condition_drafts(condition, path))
            known = known_of(condition, path, _meant_text(condition, path))
            found = self._conditions[condition] = (drafts, known)
        return found

    def _path(self, path: str) -> tuple[Draft, str] | None:
        if path not in self._paths:
            self._paths[path] = path_draft(path, search=explain_claim(path) is not None or self._may_search())
        return self._paths[path]

    def _may_search(self) -> bool:
        self._searches += 1
        return self._searches <= MAX_SEARCHES


def _meant_text(condition: Condition, path: str) -> str:
    fact = explain_claim(path)
    meant = None if fact is None else value_draft(fact, condition.value)
    text = None if meant is None else scalar_text(meant[1])
    return condition.text if text is None else text
