"""The README's promises are kept: the help it shows is the command's, the files it names are there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_help_is_the_commands_own() -> None:
    shown = re.search(r"<!-- help:[^\n]*-->\n```text\n(.*?)```", README, flags=re.DOTALL)
    assert shown is not None
    printed = subprocess.run([sys.executable, "-m", "skrkit"], capture_output=True, text=True, check=True)
    assert shown.group(1).strip() == printed.stdout.strip()


def test_files_that_it_links_to_are_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_make_targets_that_it_names_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in re.findall(r"^make ([a-z ]+?)\s*(?:#.*)?$", README, flags=re.MULTILINE):
        for target in line.split():
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_options_that_it_names_exist() -> None:
    for command in ("inspect", "verify", "walkthrough"):
        printed = subprocess.run([sys.executable, "-m", "skrkit", command, "--help"], capture_output=True, text=True)
        assert printed.returncode == 0, printed.stderr
        for line in README.splitlines():
            if line.startswith(f"skrkit {command}"):
                for option in re.findall(r"--[a-z-]+", line.split("#")[0]):
                    assert option in printed.stdout, (command, option)
