"""The runner: order, what depends on what, what breaks, what takes too long, and what a report amounts to."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from skrkit.cloud import Cloud
from skrkit.doctor.check import (
    Check,
    CheckResult,
    Outcome,
    Report,
    failed,
    not_checked,
    ok,
    run_checks,
    skipped,
    warning,
)
from skrkit.doctor.checks import ALL, checks_for
from skrkit.doctor.host import Host
from skrkit.doctor.view import view_of_report
from skrkit.doctor.visit import Names, Visit
from skrkit.errors import ServiceError, UsageError
from skrkit.render.layout import lines_of


def visit() -> Visit:
    return Visit(host=Host(system="Linux", architecture="x86_64"), names=Names(), anywhere=Cloud.azure())


def check(name: str, run: Any, *needs: str, limit_s: float = 0.0) -> Check:
    return Check(id=name, title=name, proves=f"{name} holds.", side="both", needs=needs, limit_s=limit_s, run=run)


def verdicts(results: tuple[CheckResult, ...]) -> dict[str, str]:
    return {result.check.id: result.outcome.verdict for result in results}


def test_what_depends_on_a_failed_check_is_skipped_and_says_so_to_the_end_of_the_chain() -> None:
    made: list[str] = []

    def holds(_visit: Visit) -> Outcome:
        made.append("run")
        return ok("fine")

    checks = (
        check("a", lambda _v: failed("broken", fix="mend it")),
        check("b", holds, "a"),
        check("c", holds, "b"),
        check("d", holds),
        check("e", holds, "not-part-of-this-run"),
    )
    results = run_checks(checks, visit())
    assert verdicts(results) == {"a": "failed", "b": "skipped", "c": "skipped", "d": "ok", "e": "ok"}
    assert made == ["run", "run"]
    assert results[1].outcome.evidence == "a failed, and this depends on it"
    assert results[2].outcome.evidence == "b was skipped, and this depends on it"


@pytest.mark.parametrize(("outcome", "word"), [(not_checked("no"), "could not be checked"), (skipped("no"), "skipped")])
def test_what_depends_on_a_check_that_was_not_made_is_skipped(outcome: Outcome, word: str) -> None:
    results = run_checks((check("a", lambda _v: outcome), check("b", lambda _v: ok("fine"), "a")), visit())
    assert results[1].outcome.verdict == "skipped"
    assert word in results[1].outcome.evidence


def test_a_warning_blocks_nothing() -> None:
    results = run_checks((check("a", lambda _v: warning("odd")), check("b", lambda _v: ok("fine"), "a")), visit())
    assert verdicts(results) == {"a": "warning", "b": "ok"}


def test_a_check_that_breaks_is_its_own_failure_and_the_others_go_on() -> None:
    def breaks(_visit: Visit) -> Outcome:
        raise KeyError("secret-of-this-line")

    for limit_s in (0.0, 5.0):  # in the thread of a check that asks the network as well
        results = run_checks((check("a", breaks, limit_s=limit_s), check("b", lambda _v: ok("fine"))), visit())
        assert verdicts(results) == {"a": "failed", "b": "ok"}
        assert results[0].outcome.evidence.startswith("The check itself broke: KeyError at test_check.py, line ")
        assert "bug" in results[0].outcome.fix
        assert "secret-of-this-line" not in results[0].outcome.evidence


def test_one_of_the_six_errors_is_a_failure_in_its_own_words() -> None:
    def refuses(_visit: Visit) -> Outcome:
        raise UsageError(what="thing", where="here", expected="one", found="none.", fix="Bring one.")

    (result,) = run_checks((check("a", refuses),), visit())
    found = result.outcome
    assert (found.verdict, found.evidence) == ("failed", "thing at here: expected one, found none.")
    assert found.fix == "Bring one."
    assert found.facts["error"] == {
        "error": "UsageError",
        "what": "thing",
        "where": "here",
        "expected": "one",
        "found": "none.",
        "fix": "Bring one.",
    }


def test_a_failure_is_told_even_where_the_search_for_its_cause_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_visit: Visit) -> Outcome:
        raise ServiceError(what="thing", where="here", expected="one", found="none", fix="Bring one.")

    def breaks(*_arguments: Any, **_options: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("skrkit.diagnosis.explain.explain", breaks)
    monkeypatch.setattr(Visit, "case", lambda *_a, **_o: None)
    (result,) = run_checks((check("a", refuses),), visit())
    assert result.outcome.verdict == "failed"
    assert result.outcome.evidence.startswith(
        "thing at here: expected one, found none. (The search for its cause broke"
    )
    assert result.outcome.fix == "Bring one."


def test_a_check_without_an_answer_is_given_up_after_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skrkit.doctor.remedy.cause_of", lambda *_a: ("", ""))
    release = threading.Event()

    def hangs(_visit: Visit) -> Outcome:
        release.wait(30)
        return ok("too late")

    before = time.monotonic()
    results = run_checks((check("a", hangs, limit_s=0.2), check("b", lambda _v: ok("fine"))), visit())
    release.set()
    assert time.monotonic() - before < 5
    assert verdicts(results) == {"a": "failed", "b": "ok"}
    assert "an answer within 0.2 s, found none" in results[0].outcome.evidence


def test_an_interruption_goes_through() -> None:
    def interrupted(_visit: Visit) -> Outcome:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_checks((check("a", interrupted),), visit())


def test_progress_is_told_before_and_after_each_check() -> None:
    told: list[tuple[str, str]] = []
    checks = (check("a", lambda _v: failed("x", fix="y")), check("b", lambda _v: ok("fine"), "a"))
    run_checks(checks, visit(), lambda made, result: told.append((made.id, result.outcome.verdict if result else "")))
    assert told == [("a", ""), ("a", "failed"), ("b", ""), ("b", "skipped")]


def report(*outcomes: Outcome) -> Report:
    named = [check(f"group.check-{number}", lambda _v: ok("")) for number in range(len(outcomes))]
    paired = zip(named, outcomes, strict=True)
    return Report(results=tuple(CheckResult(check=each, outcome=found) for each, found in paired), where="here")


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ((ok("a"), warning("b"), skipped("c")), 0),
        ((ok("a"), failed("b", fix="c")), 4),
        ((ok("a"), not_checked("b")), 4),
        ((), 0),
    ],
)
def test_the_exit_code_is_4_for_what_failed_and_for_what_could_not_be_checked(
    outcomes: tuple[Outcome, ...], code: int
) -> None:
    assert report(*outcomes).exit_code == code


def test_the_json_of_a_report_is_its_checks_and_nothing_else() -> None:
    made = report(ok("a", {"n": 1}), failed("b", fix="c", cause="key.disabled"), skipped("d"))
    assert list(made.fields()) == ["checks"]
    checks = made.fields()["checks"]
    assert isinstance(checks, list)
    first, second, third = checks
    common = {"proves": "group.check-0 holds.", "id": "group.check-0"}
    assert first == common | {"verdict": "ok", "evidence": "a", "fix": "", "facts": {"n": 1}}
    assert isinstance(second, dict)
    assert (second["cause"], second["fix"]) == ("key.disabled", "c")
    assert isinstance(third, dict)
    assert set(third) == {"id", "verdict", "proves", "evidence", "fix"}
    assert made.first_cause == "key.disabled"


def test_a_report_in_words_names_where_to_begin() -> None:
    view = view_of_report(report(ok("a"), failed("b", fix="mend", cause="key.disabled"), skipped("d"), warning("e")))
    text = "\n".join("".join(part for _, part in line) for line in lines_of(view, 100))
    assert "1 ok · 1 with a warning · 1 failed · 1 skipped" in text
    assert "✗ failed       group.check-1  b (key.disabled)" in text
    assert "fix: mend" in text
    assert "· skipped      group.check-2  d" in text
    assert "! warning      group.check-3  e" in text
    assert "Begin with group.check-1" in text
    assert "skrkit explain key.disabled" in text


def test_every_check_has_its_own_id_says_what_it_proves_and_needs_what_comes_before() -> None:
    ids = [each.id for each in ALL]
    assert len(set(ids)) == len(ids)
    for number, each in enumerate(ALL):
        assert each.proves.endswith(".")
        assert set(each.needs) <= set(ids[:number]), each.id


def test_a_side_has_its_own_checks_and_those_of_both() -> None:
    inside = {each.id for each in checks_for(inside=True, outside=False)}
    outside = {each.id for each in checks_for(inside=False, outside=True)}
    assert "machine.kind" in inside - outside
    assert "vault.grant" in outside - inside
    assert {"maa.reachable", "vault.reachable", "key.attributes", "clock.right"} <= inside & outside
    of_vault, of_hsm = (set(checks_for(inside=True, outside=True, hsm=hsm)) for hsm in (False, True))
    assert of_vault | of_hsm == set(ALL)
    assert {each.id for each in of_hsm - of_vault} == {"hsm.resource", "hsm.grant", "hsm.reachable"}


def test_a_fix_comes_from_the_catalogue_with_the_names_of_the_visit() -> None:
    named = Visit(
        host=Host(system="Linux", architecture="x86_64"),
        names=Names(vault="my-vault", key="my-key", vm="my-vm", resource_group="my-group"),
    )
    assert "my-vault" in named.with_remedy(failed("x", cause="key.disabled")).fix
    unnamed = visit().with_remedy(failed("x", cause="key.disabled")).fix
    assert unnamed
    assert "{" not in unnamed  # no name is known: the sentence, and not half a command
    assert named.with_remedy(failed("x", fix="mine", cause="key.disabled")).fix == "mine"
