"""The command's shell: what each ending looks like on stdout and stderr, and its exit code."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

import skrkit
from skrkit.cli.main import COMMANDS, main, worded
from skrkit.errors import (
    ParseError,
    PolicyError,
    ReleaseRefused,
    ServiceError,
    SkrkitError,
    UsageError,
    VerificationError,
)

WORDS = {"what": "the thing", "where": "byte 0x4", "expected": "this", "found": "that", "fix": "Do so."}


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], None]:
    """Put a command of one's own in the place of `skrkit verify`."""

    def put(body: Callable[[], int]) -> None:
        def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
            parser = subparsers.add_parser("verify")
            parser.add_argument("--json", action="store_true")
            parser.set_defaults(func=lambda namespace: body())

        module = types.ModuleType("skrkit.cli.verify")
        vars(module)["add_parser"] = add_parser
        monkeypatch.setitem(sys.modules, "skrkit.cli.verify", module)

    return put


def raising(error: BaseException) -> Callable[[], int]:
    def body() -> int:
        raise error

    return body


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"skrkit {skrkit.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_has_each_command_with_an_example(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    for name, (text, example) in COMMANDS.items():
        assert f"  {name} " in shown
        assert text in shown
        assert f"$ {example}\n" in shown
        assert example.startswith(f"skrkit {name}")
    assert all(len(line) <= 80 for line in shown.splitlines())


@pytest.mark.parametrize(
    ("typed", "meant"), [("inspct", "inspect"), ("verfy", "verify"), ("walktrough", "walkthrough")]
)
def test_a_mistyped_command_suggests_the_nearest(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([typed]) == UsageError.exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"found: '{typed}'" in captured.err
    assert f"fix: Did you mean `skrkit {meant}`?" in captured.err


def test_a_command_like_no_other_gets_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zzz"]) == 2
    assert "expected: inspect, verify, policy, maa, sandbox, lab, walkthrough" in capsys.readouterr().err


def test_argparse_complains_in_the_form_of_every_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--jsom", "--json", "x"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: command line at `skrkit inspect`\n  expected: skrkit inspect [-h]")
    assert "found: unknown arguments: --jsom" in captured.err
    assert json.loads(captured.out)["error"] == "UsageError"


def test_an_option_is_spelt_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--js", "x"]) == 2
    assert "found: unknown arguments: --js" in capsys.readouterr().err


def test_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--help"]) == 0
    assert "--as KIND" in capsys.readouterr().out


def test_a_command_returns_its_own_code(command: Callable[[Callable[[], int]], None]) -> None:
    command(lambda: 4)
    assert main(["verify"]) == 4


ERRORS = [UsageError, ParseError, VerificationError, PolicyError, ReleaseRefused, ServiceError]


@pytest.mark.parametrize(("kind", "code"), list(zip(ERRORS, range(2, 8), strict=True)))
def test_each_error_has_its_words_and_its_code(
    kind: type[SkrkitError],
    code: int,
    command: Callable[[Callable[[], int]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    command(raising(kind(**WORDS, source="RFC 1")))
    assert main(["verify"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "error: the thing at byte 0x4\n  expected: this\n  found: that\n  fix: Do so.\n  source: RFC 1\n"
    )


def test_with_json_an_error_is_one_document_too(
    command: Callable[[Callable[[], int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(raising(VerificationError(**WORDS, step="report.signature")))
    assert main(["verify", "--json"]) == 4
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"error": "VerificationError", **WORDS, "step": "report.signature"}
    assert "error: the thing" in captured.err


def test_an_error_cannot_command_the_terminal() -> None:
    assert "\\x1b[2J" in worded(ParseError(**{**WORDS, "found": "\x1b[2J\nerror: forged"}))
    assert len(worded(ParseError(**{**WORDS, "found": "a\nb"})).splitlines()) == 4


def test_an_interruption_is_one_clean_line(
    command: Callable[[Callable[[], int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(raising(KeyboardInterrupt()))
    assert main(["verify"]) == 130
    assert capsys.readouterr().err == "\nInterrupted.\n"


def test_a_full_disk_is_no_bug(
    command: Callable[[Callable[[], int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(raising(OSError(errno.ENOSPC, "No space left on device")))
    assert main(["verify"]) == 2
    assert "found: no space left on the device\n" in capsys.readouterr().err


def test_a_bug_is_called_one_and_keeps_its_message_to_itself(
    command: Callable[[Callable[[], int]], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SKRKIT_DEBUG", raising=False)
    command(raising(KeyError("the secret")))
    assert main(["verify", "--json"]) == 1
    captured = capsys.readouterr()
    assert re.match(r"error: this is a bug in skrkit: KeyError at test_main.py, line \d+\n", captured.err)
    assert "SKRKIT_DEBUG=1" in captured.err
    assert "secret" not in captured.err + captured.out
    assert json.loads(captured.out)["error"] == "Bug"
    monkeypatch.setenv("SKRKIT_DEBUG", "1")
    assert main(["verify"]) == 1
    captured = capsys.readouterr()
    assert "Traceback" in captured.err
    assert "the secret" in captured.err


def run(*arguments: str, **options: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, **options}
    return subprocess.run([sys.executable, *arguments], capture_output=True, timeout=60, env=environment, check=False)


def test_the_module_runs_as_the_command_does() -> None:
    done = run("-m", "skrkit", "--version")
    assert (done.returncode, done.stdout.decode().split()) == (0, ["skrkit", skrkit.__version__])


def imported(*arguments: str) -> set[str]:
    done = run("-X", "importtime", "-m", "skrkit", *arguments)
    assert done.returncode == 0, done.stderr
    return {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines() if "|" in line}


def test_the_version_needs_nothing() -> None:
    assert not imported("--version") & {"argparse", "typing", "dataclasses", "inspect", "json", "skrkit.errors"}


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_hcl_report_needs_neither_cryptography_nor_rich(captures: Path, options: list[str]) -> None:
    loaded = imported("inspect", *options, str(captures / "azure-snp-milan-v3/hcl-report.bin"))
    heavy = {"cryptography", "rich", "jwt", "azure", "asyncio", "pathlib", "shutil", "ssl"}
    assert not {name for name in loaded if name.partition(".")[0] in heavy}
    if options:
        assert not {name for name in loaded if name.startswith("skrkit.render")}


def test_a_reader_that_goes_away_is_no_error(captures: Path) -> None:
    arguments = [sys.executable, "-m", "skrkit", "inspect", "--hex", str(captures / "gce-snp-eventlog/eventlog.bin")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(100)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 141


def test_a_reader_that_goes_away_before_an_errors_json_is_none_either() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    arguments = [sys.executable, "-m", "skrkit", "inspect", "--json", "no-such-file"]
    with subprocess.Popen(arguments, stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        assert process.stderr is not None
        said = process.stderr.read()
        assert said.startswith(b"error: ")
        assert b"Traceback" not in said
        assert process.wait(timeout=60) == 141
