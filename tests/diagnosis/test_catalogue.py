"""The catalogue: every row of the tables of symptoms has its cause, and every command in it is one that exists."""

from __future__ import annotations

import re
import shlex
import string
from pathlib import Path

import pytest

from skrkit.cli.main import COMMANDS
from skrkit.diagnosis.catalogue import catalogue, cause_named, causes_of, is_cause
from skrkit.diagnosis.cause import Cause, Leg
from skrkit.errors import UsageError
from skrkit.render.markdown import catalogue_markdown
from skrkit.sandbox.faults.table import all_faults
from tests.diagnosis.rows import ATTESTATION, KEY_VAULT, OUT_OF_SCOPE, SNP

CAUSES = tuple(catalogue())
PROGRAMS = {"skrkit", "az", "sudo", "curl", "openssl", "export"}
NAMES = {  # that a template may ask for: a case knows some of them, the others a person fills in
    "vault", "vault_id", "key", "new_key", "vm", "resource_group", "object_id", "tenant", "location", "address",
    "authority", "provider", "product", "nsg", "ops", "time", "snp", "microcode", "cause",
}  # fmt: skip


@pytest.mark.parametrize(("table", "count"), [(KEY_VAULT, 56), (ATTESTATION, 31), (SNP, 32 + 8)])
def test_every_row_of_the_tables_has_a_cause(table: dict[str, tuple[str, ...]], count: int) -> None:
    assert len(table) == count
    assert [row for row, causes in table.items() if not causes and row not in OUT_OF_SCOPE] == []
    assert [cause for causes in table.values() for cause in causes if not is_cause(cause)] == []


def test_what_is_out_of_scope_is_a_row_and_says_why() -> None:
    rows = {**KEY_VAULT, **ATTESTATION, **SNP}
    assert all(rows[row] == () and len(why) > 20 for row, why in OUT_OF_SCOPE.items())


def test_every_fault_of_the_sandbox_has_the_cause_of_its_name() -> None:
    names = [fault.name for fault in all_faults()]
    assert len(names) >= 60
    assert [name for name in names if not is_cause(name)] == []


def test_ids_are_unique_and_begin_with_their_leg() -> None:
    ids = [cause.id for cause in CAUSES]
    assert len(ids) == len(set(ids))
    assert [cause.id for cause in CAUSES if not cause.id.startswith(f"{cause.leg.value}.")] == []
    assert all(re.fullmatch(r"[a-z-]+\.[a-z0-9-]+", name) for name in ids)
    assert all(causes_of(leg) for leg in Leg)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.id)
def test_a_cause_says_everything(cause: Cause) -> None:
    for text in (cause.title, cause.symptom, cause.why, cause.fix, cause.source):
        assert text
        assert text == text.strip()
        assert "  " not in text
    assert cause.why.endswith(".")
    assert cause.fix.endswith((".", "?"))
    assert not cause.title.endswith(".")
    document = cause.to_json()
    assert document["id"] == cause.id
    assert ("command" in document) == bool(cause.command)


@pytest.mark.parametrize(
    "cause", [cause for cause in CAUSES if cause.command or cause.mend], ids=lambda cause: cause.id
)
def test_commands_are_of_programs_that_exist(cause: Cause) -> None:
    for template in filter(None, (cause.command, cause.mend)):
        fields = {field for _, field, _, _ in string.Formatter().parse(template) if field}
        assert fields <= NAMES
        words = shlex.split(template.format_map(dict.fromkeys(NAMES, "x")))
        assert words[0] in PROGRAMS
        if words[0] == "skrkit":
            assert words[1] in COMMANDS
    if cause.mend:
        assert cause.mend.startswith("skrkit ")


def test_what_the_sandbox_mends_is_a_fault_of_its_own() -> None:
    assert {cause.id for cause in CAUSES if cause.mend} == {fault.name for fault in all_faults()}


def test_the_page_of_causes_is_the_catalogues() -> None:
    """`skrkit explain --list --markdown > docs/causes.md` after a change of the catalogue."""
    page = Path(__file__).parents[2] / "docs" / "causes.md"
    assert page.read_text(encoding="utf-8") == catalogue_markdown(CAUSES)


def test_a_cause_is_found_by_its_name_alone() -> None:
    assert cause_named("access-token.expired").leg is Leg.ACCESS_TOKEN
    assert cause_named("access.rbac-mode").leg is Leg.ACCESS


@pytest.mark.parametrize("name", ["key.disable", "disabled", "", "key.", "nothing.like-it", "key.disabled\n"])
def test_another_name_is_refused_with_the_nearest(name: str) -> None:
    assert not is_cause(name)
    with pytest.raises(UsageError) as caught:
        cause_named(name)
    assert caught.value.fix == "skrkit explain --list"
    if name == "key.disable":
        assert "key.disabled" in caught.value.expected
