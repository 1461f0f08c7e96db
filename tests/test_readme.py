"""The README keeps its promises: its commands run, its help is the command's own, the files it names are there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skrkit.sandbox import process

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = dict(
    re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```(?:sh|python)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
)
# The names that the README gives to files of a real machine, and where the captures have them.
REAL_FILES = {
    "hcl-report.bin": "azure-snp-milan-v3/hcl-report.bin",
    "vcek.der": "azure-snp-milan-v3/vcek.der",
    "milan.pem": "amd-roots/milan.pem",
    "quote.bin": "azure-snp-milan-v3/quote-msg.bin",
    "sig.bin": "azure-snp-milan-v3/quote-sig.bin",
    "pcrs.json": "azure-snp-milan-v3/pcrs-sha256.json",
    "token.jwt": "maa-token-and-akv-release/maa-token.jwt",
}
posix = pytest.mark.skipif(os.name == "nt", reason="NO POSIX SHELL: the README's blocks were not run")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state folder of a sandbox in which a walkthrough began, as it has for a reader who comes from the top."""
    made: Path = tmp_path_factory.mktemp("readme")
    run("skrkit walkthrough --step 1 > walkthrough.txt", made, made)
    yield made
    process.reset(made)


def run(script: str, home: Path, folder: Path) -> str:
    """Run lines of shell as a reader would: with this Python's `skrkit` on the path. Each must succeed."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, "PATH": path, "SKRKIT_HOME": str(home)}
    done = subprocess.run(
        ["sh", "-eu", "-c", script],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@posix
def test_the_commands_for_bytes_of_a_real_machine_run(captures: Path, home: Path, tmp_path: Path) -> None:
    for name, place in REAL_FILES.items():
        shutil.copy(captures / place, tmp_path / name)
    printed = run(BLOCKS["With bytes from a real machine"], home, tmp_path)
    assert "VERIFIED" in printed
    assert printed.count("Azure HCL report") == 2


@posix
def test_the_block_about_the_template_deploys_and_prints_it(home: Path, tmp_path: Path) -> None:
    printed = run(BLOCKS["By one template"], home, tmp_path)
    assert "Deployment skrkit-cvm-1 in skrkit-rg: Succeeded" in printed
    template = json.loads((tmp_path / "main.json").read_text(encoding="utf-8"))
    assert template["$schema"].endswith("/deploymentTemplate.json#")


@posix
def test_the_commands_for_release_policies_run(captures: Path, home: Path, tmp_path: Path) -> None:
    shutil.copy(captures / REAL_FILES["token.jwt"], tmp_path / "token.jwt")
    printed = run(BLOCKS["Release policies"], home, tmp_path)
    assert "Policy lint: 0 errors, 0 warnings, 2 notes" in printed
    assert "Policy decision: yes" in printed
    assert "Policies compared: stricter" in printed
    assert json.loads(printed[printed.rindex('{\n  "version"') :]) == json.loads((tmp_path / "strict.json").read_text())


@posix
def test_the_commands_for_the_sandbox_run(home: Path, tmp_path: Path) -> None:
    lines = BLOCKS["The sandbox"].splitlines()
    assert [line.split()[0] for line in lines] == ["skrkit", "eval", *["skrkit"] * 5]
    absent = [name for name in ("curl", "tpm2_pcrread") if shutil.which(name) is None]
    printed = run("\n".join(line for line in lines if not any(name in line for name in absent)), home, tmp_path)
    assert "The sandbox has ended. Its state stays." in printed
    if absent:
        pytest.skip(f"NO {' AND NO '.join(absent)}: these lines of the README were not run, the others were")
    assert '"tenant_discovery_endpoint"' in printed
    assert "sha256:" in printed
    assert "Faults of the sandbox" in printed


@posix
def test_the_python_runs(home: Path, tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text(BLOCKS["In Python"] + "print(inside.vm, cloud.world)\n", encoding="utf-8")
    assert run("python shown.py", home, tmp_path) == "cvm-1 sandbox\n"


def test_help_is_the_commands_own() -> None:
    shown = re.search(r"<!-- help:[^\n]*-->\n```text\n(.*?)```", README, flags=re.DOTALL)
    assert shown is not None
    printed = subprocess.run([sys.executable, "-m", "skrkit"], capture_output=True, text=True, check=True)
    assert shown.group(1).strip() == printed.stdout.strip()


def test_the_table_of_causes_is_the_catalogues() -> None:
    """After a change: print(commonest_markdown(), end="") is what belongs between the comment and the next line."""
    from skrkit.render.markdown import commonest_markdown

    shown = re.search(r"<!-- causes:[^\n]*-->\n\n(\|.*?\|\n)\n", README, flags=re.DOTALL)
    assert shown is not None
    assert shown.group(1) == commonest_markdown()


def test_files_that_it_links_to_are_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_make_targets_that_it_names_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make ([a-z]+) ", README, flags=re.MULTILINE)
    assert targets == ["walkthrough", "lab", "test", "bench"]
    for target in targets:
        assert re.search(rf"^{target}:.*## ", makefile, flags=re.MULTILINE), target


def test_extras_that_it_names_are_there() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r"-e '?\.\[([a-z]+)\]", README):
        assert re.search(rf"^{extra} = \[", project, flags=re.MULTILINE), extra


def test_options_that_it_names_in_prose_exist() -> None:
    for command, prose in (("walkthrough", "What you see"), ("verify", "With bytes from a real machine")):
        section = README.split(f"## {prose}\n")[1].split("\n## ")[0]
        printed = subprocess.run(
            [sys.executable, "-m", "skrkit", command, "--help"], capture_output=True, text=True, check=True
        )
        options = set(re.findall(r"`(--[a-z-]+)[^`]*`", section))
        assert options
        assert [option for option in options if option not in printed.stdout] == []
