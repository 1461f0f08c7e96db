"""What the policy tools say, as views: findings, meanings, suggestions, differences, repairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from skrkit.policy.claim_lifetime import Lasts, lifetime_of
from skrkit.policy.diff import Change, Effect, PolicyDiff, Witness
from skrkit.policy.lint_rules import LintFinding, Severity
from skrkit.policy.model import AuthorityClause, Condition, Group, ReleasePolicy
from skrkit.policy.repair import Repair
from skrkit.policy.suggest import SuggestedClause, Suggestion
from skrkit.render.view import Block, Row, Rows, Step, Steps, Verdict, View, rows_of, scalar
from skrkit.token.catalogue import explain_claim
from skrkit.wire import Json

_VERDICTS: dict[Severity, Verdict] = {
    Severity.ERROR: "failed",
    Severity.WARNING: "warning",
    Severity.NOTE: "not-checked",
}
MANY = 3  # findings of one kind that are shown one by one; a policy for every region has one in each

_EFFECTS = {
    Effect.SAME: "the same tokens release under both",
    Effect.STRICTER: "stricter: fewer tokens release, and none that did not before",
    Effect.LOOSER: "looser: more tokens release, and all that did before",
    Effect.OTHER: "other: some tokens release that did not before, and some no longer do",
    Effect.UNDECIDED: "undecided: what these operators mean is not documented, or there are too many ways to meet it",
}


def view_of_policy_answer(thing: object) -> View | None:
    """Return the view of what a policy tool returned: findings, suggestions, repairs, a difference; None otherwise.

    An empty tuple is no answer: it does not say of what.
    """
    if isinstance(thing, PolicyDiff):
        return view_of_diff(thing)
    several = thing if isinstance(thing, tuple) else (thing,)
    for kind, view_of in (
        (LintFinding, view_of_findings),
        (Suggestion, view_of_suggestions),
        (Repair, view_of_repairs),
    ):
        if several and all(isinstance(one, kind) for one in several):
            view: View = view_of(several)
            return view
    return None


def view_of_findings(findings: Sequence[LintFinding]) -> View:
    """Return the view of a lint: each finding with why and fix; many of one kind as one, with their number."""
    count = {severity: sum(finding.severity is severity for finding in findings) for severity in Severity}
    heading = "Policy lint: " + ", ".join(_counted(count[severity], severity.value) for severity in Severity)
    shown = [_finding_step(group) for group in _grouped(findings, (Severity.ERROR, Severity.WARNING))]
    notes = [_finding_row(group) for group in _grouped(findings, (Severity.NOTE,))]
    blocks: list[Block] = [Steps(steps=tuple(shown))] if shown else []
    blocks += [Rows(title="Notes", rows=tuple(notes))] if notes else []
    return View(heading=heading, blocks=tuple(blocks or ["Nothing to say."]))


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _grouped(findings: Iterable[LintFinding], severities: tuple[Severity, ...]) -> Iterator[list[LintFinding]]:
    """Return findings of the same rule together where there are many, each alone where there are few."""
    by_rule: dict[str, list[LintFinding]] = {}
    for finding in findings:
        if finding.severity in severities:
            by_rule.setdefault(finding.id, []).append(finding)
    for same in by_rule.values():
        yield from ([same] if len(same) > MANY else ([one] for one in same))


def _where(group: list[LintFinding]) -> str:
    more = f", and {len(group) - 1} more like it" if len(group) > 1 else ""
    return f"{group[0].pointer or 'the whole'}{more}"


def _finding_step(group: list[LintFinding]) -> Step:
    one = group[0]
    detail = f"{_where(group)}\n{one.what}. {one.why} ({one.source})"
    return Step(id=one.id, verdict=_VERDICTS[one.severity], detail=detail, fix=one.fix)


def _finding_row(group: list[LintFinding]) -> Row:
    one = group[0]
    return Row(name=one.id, value=f"{_where(group)}: {one.what}.", note=f"{one.why} {one.fix}")


def view_of_meaning(policy: ReleasePolicy) -> View:
    """Return the view of what a policy asks, condition by condition. Clauses that ask the same are shown once."""
    same: dict[Group, list[AuthorityClause]] = {}
    for clause in policy.root:
        same.setdefault(clause.group, []).append(clause)
    blocks = tuple(_clauses_block(clauses) for clauses in same.values())
    count = _counted(len(policy.root), "clause")
    return View(
        heading="What the policy asks", facts=(f"version {policy.version}", count, "one is enough"), blocks=blocks
    )


def _clauses_block(clauses: list[AuthorityClause]) -> Rows:
    named = ", ".join(clause.authority for clause in clauses[:MANY])
    more = f", and of {len(clauses) - MANY} more" if len(clauses) > MANY else ""
    return Rows(title=f"For tokens of {named}{more}", rows=tuple(_group_rows(clauses[0].group, 0)))


def _group_rows(group: Group, depth: int) -> Iterator[Row]:
    several = len(group.members) > 1
    yield Row(name=group.rule.value, value=("each of" if group.rule.value == "allOf" else "one of") if several else "")
    for member in group.members:
        if isinstance(member, Group):
            yield from (row._replace(depth=row.depth + depth + 1) for row in _group_rows(member, 0))
        else:
            yield _condition_row(member, depth + 1)


def _condition_row(condition: Condition, depth: int) -> Row:
    fact = explain_claim(condition.claim)
    lifetime = lifetime_of(condition.claim)
    if fact is None:
        note = "Azure Attestation documents no such claim."
    else:
        mark = " (inferred)" if fact.inferred else ""
        note = f"{fact.meaning}{mark}"
        if lifetime.lasts is not Lasts.KIND:
            note += f" Made again: {lifetime.made_again} Firmware: {lifetime.firmware}"
    value = f"{condition.operator.value} {scalar(condition.value)}"
    return Row(name=condition.claim, value=value, note=note, depth=depth)


def view_of_suggestions(suggestions: Iterable[Suggestion]) -> View:
    """Return the view of the suggested policies: who is admitted, and what each clause asks and costs.

    What a stricter one asks as well as the one before is not said again.
    """
    seen: set[str] = set()
    views = []
    for suggestion in suggestions:
        views.append(_suggestion_view(suggestion, seen))
        seen.update(clause.claim for clause in suggestion.clauses)
    return View(heading="Policies for this token, each stricter", blocks=tuple(views))


def _suggestion_view(suggestion: Suggestion, seen: set[str]) -> View:
    rows = [row for clause in suggestion.clauses if clause.claim not in seen for row in _clause_rows(clause)]
    title = "What it asks, in addition" if seen else "What it asks"
    asked: list[Block] = [Rows(title=title, rows=tuple(rows))] if rows else []
    left = tuple(f"Mind: {text}" for text in suggestion.left_out)
    return View(heading=suggestion.name, blocks=(f"Who gets the key: {suggestion.admits}", *asked, *left))


def _clause_rows(clause: SuggestedClause) -> Iterator[Row]:
    yield Row(name=clause.claim, value=f"equals {scalar(clause.value)}", note=clause.why)
    if clause.lifetime.lasts is Lasts.KIND:
        yield Row(name="costs", value="nothing: every machine of this kind has it, before and after updates", depth=1)
        return
    yield Row(name="made again", value=clause.lifetime.made_again, depth=1)
    yield Row(name="firmware", value=clause.lifetime.firmware, depth=1)


def view_of_diff(found: PolicyDiff) -> View:
    """Return the view of a difference: its effect, each change, and who gained or lost the key."""
    changes = Rows(title="Changes", rows=tuple(row for change in found.changes for row in _change_rows(change)))
    blocks: list[Block] = [changes] if found.changes else ["What a service would treat alike differs nowhere."]
    blocks += _witness_blocks("This token releases now, and did not before", found.gained)
    blocks += _witness_blocks("This token released before, and no longer does", found.lost)
    return View(
        heading=f"Policies compared: {_EFFECTS[found.effect]}",
        facts=(_counted(len(found.changes), "change"),),
        blocks=tuple(blocks),
    )


def _change_rows(change: Change) -> Iterator[Row]:
    where = " to ".join(dict.fromkeys(at for at in (change.pointer_before, change.pointer_after) if at))
    yield Row(name=change.kind, value=where)
    for name, value in (("before", change.before), ("after", change.after)):
        if value is not None:
            yield Row(name=name, depth=1)
            yield from (row._replace(depth=row.depth + 2) for row in rows_of(value))


def _witness_blocks(title: str, witnesses: Iterable[Witness]) -> Iterator[Rows]:
    """Return a token a block; those that differ in the issuer alone share one."""
    issuers: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for witness in witnesses:
        issuers.setdefault(tuple(witness.claims.items()), []).append(witness.issuer)
    for claims, same in issuers.items():
        more = f", and of {len(same) - MANY} more" if len(same) > MANY else ""
        first = Row(name="iss", value=", ".join(same[:MANY]) + more)
        yield Rows(title=title, rows=(first, *(Row(name=claim, value=value) for claim, value in claims)))


def view_of_repairs(found: Sequence[Repair]) -> View:
    """Return the view of the repairs: how many edits, safe or dangerous and why, and each edit."""
    if not found:
        return View(heading="Repairs", blocks=("No small change would make the policy hold for these claims.",))
    return View(heading="Smallest changes that would make it hold", blocks=tuple(map(_repair_view, found)))


def _repair_view(repair: Repair) -> View:
    word = "safe" if repair.safe else "dangerous"
    rows = []
    for edit in repair.edits:
        rows.append(Row(name=edit.kind, value=edit.pointer))
        rows += [
            Row(name=name, value=_short(value), depth=1)
            for name, value in (("before", edit.before), ("after", edit.after))
        ]
    heading = f"{word}: {_counted(repair.count, 'edit')}"
    return View(heading=heading, blocks=(repair.why, Rows(rows=tuple(rows))))


def _short(value: Json) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(member)}" for name, member in value.items())
    if isinstance(value, list):
        return "; ".join(_short(member) for member in value)
    return scalar(value)
