"""The six errors: their words, their exit codes, and that nobody else defines one."""

from __future__ import annotations

import ast
from pathlib import Path

from skrkit import errors

ROOT = Path(__file__).parents[1]


def test_the_text_names_what_where_expected_found_and_fix_in_that_order() -> None:
    error = errors.ParseError(
        what="HCL report_type", where="byte 0x4C8, 4 bytes", expected="2 (SEV-SNP)", found="4 (TDX)", fix="Use SNP."
    )
    assert str(error) == ("HCL report_type at byte 0x4C8, 4 bytes: expected 2 (SEV-SNP), found 4 (TDX). Fix: Use SNP.")


def test_each_error_has_its_own_exit_code() -> None:
    codes = {kind.__name__: kind.exit_code for kind in errors.SkrkitError.__subclasses__()}
    assert codes == {
        "UsageError": 2,
        "ParseError": 3,
        "VerificationError": 4,
        "PolicyError": 5,
        "ReleaseRefused": 6,
        "ServiceError": 7,
    }


def test_json_has_every_member_and_leaves_an_empty_source_out() -> None:
    error = errors.VerificationError(what="w", where="p", expected="e", found="f", fix="x", step="report.signature")
    assert error.to_json() == {
        "error": "VerificationError",
        "what": "w",
        "where": "p",
        "expected": "e",
        "found": "f",
        "fix": "x",
        "step": "report.signature",
    }


def test_no_other_module_subclasses_the_six() -> None:
    six = {kind.__name__ for kind in errors.SkrkitError.__subclasses__()}
    for path in (ROOT / "skrkit").rglob("*.py"):
        if path.name == "errors.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                assert not bases & (six | {"SkrkitError"}), f"{path.name}: {node.name}"
