"""The catalogue's commands of curl, openssl, tpm2-tools and the shell, run inside a sandbox's VM by `sandbox exec`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from cryptography import x509

from skrkit.diagnosis.catalogue import catalogue
from skrkit.evidence.eventlog import parse_event_log
from skrkit.evidence.hcl import parse_hcl_report
from skrkit.sandbox.endpoint import Endpoint
from tests.sandbox.running import STAGE, skrkit, staged

NAMES = {
    "vault": STAGE.vault, "authority": STAGE.attestation, "product": "Milan", "snp": "1", "microcode": "1",
}  # fmt: skip
COMMANDS = sorted(
    {cause.command for cause in catalogue() if cause.command and not cause.command.startswith(("az ", "skrkit "))}
    | {cause.command for cause in catalogue() if "--fetch" in cause.command}
)

# What is not run, and why.
NOT_HERE = {
    "sudo usermod --append --groups tss $USER": "it changes the users of the machine that the tests run on",
    "sudo chronyc makestep": "it sets the clock of the machine that the tests run on",
}

# What the sandbox's VM has elsewhere than a VM in Azure: words of a command, those that are run instead, and why.
ELSEWHERE = (
    ('--noproxy "*" ', "", "the way to the sandbox's IMDS is a proxy"),
    ("openssl s_client", "openssl s_client -proxy ${HTTPS_PROXY#http://}", "so is the way to its vaults"),
    ("/sys/kernel/security/tpm0/binary_bios_measurements", '"$SKRKIT_EVENT_LOG"', "its VM has no kernel of its own"),
    ("/etc/pki/tls/certs/ca-bundle.crt", '"$SSL_CERT_FILE"', "its authority is in no system's bundle"),
)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with staged(tmp_path_factory.mktemp("shell")) as started:
        yield started


class Shell:
    """A shell inside the VM, in a folder that has `sudo`: in the sandbox nobody needs to be root for anything."""

    def __init__(self, endpoint: Endpoint, folder: Path) -> None:
        self._home, self.folder = endpoint.home, folder
        sudo = folder / "bin" / "sudo"
        sudo.parent.mkdir()
        sudo.write_text('#!/bin/sh\nexec "$@"\n', encoding="ascii")
        sudo.chmod(0o755)
        own = Path(sys.executable).parent  # where skrkit is
        self._path = os.pathsep.join((str(sudo.parent), str(own), os.environ["PATH"]))

    def run(self, *lines: str) -> tuple[int, str]:
        """Return how the lines ended, and what they printed."""
        script = "\n".join((f"cd '{self.folder}'", "export TSS2_LOG=all+NONE", *lines))
        command = ("sandbox", "exec", "--vm", STAGE.vm, "--", "sh", "-c", script)
        done = skrkit(self._home, *command, PATH=self._path, XDG_CACHE_HOME=str(self.folder))
        return done.returncode, done.stdout

    def file(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


@pytest.fixture
def shell(endpoint: Endpoint, tmp_path: Path) -> Shell:
    return Shell(endpoint, tmp_path)


def as_here(template: str) -> str:
    command = template.format_map(NAMES)
    for words, instead, _ in ELSEWHERE:
        command = command.replace(words, instead)
    return command


# --- what shows that a command did what its cause says: after it, by what it printed, or by a file


def _nothing(_shell: Shell, printed: bytes) -> None:
    assert printed == b""


def _report_as_bytes(_shell: Shell, printed: bytes) -> None:
    assert parse_hcl_report(printed).raw == printed


def _report_in_a_file(shell: Shell, printed: bytes) -> None:
    assert parse_hcl_report(shell.file("hcl-report.bin")).raw
    assert b"vmUniqueId" in printed


def _instance(_shell: Shell, printed: bytes) -> None:
    assert json.loads(printed)["compute"]["securityProfile"]["securityType"] == "ConfidentialVM"


def _token_of_no_identity(_shell: Shell, printed: bytes) -> None:
    """The VM has none yet; without the header IMDS would not come to say so."""
    assert json.loads(printed) == {"error": "invalid_request", "error_description": "Identity not found"}


def _verified_by_the_authority(_shell: Shell, printed: bytes) -> None:
    assert b"Verify return code: 0 (ok)" in printed


def _crl(shell: Shell, _printed: bytes) -> None:
    assert x509.load_der_x509_crl(shell.file("crl.der")).issuer.rfc4514_string().count("ARK-Milan") == 1


def _discovery(_shell: Shell, printed: bytes) -> None:
    assert json.loads(printed)["jwks_uri"] == f"{STAGE.attestation}/certs"


def _events(shell: Shell, _printed: bytes) -> None:
    assert parse_event_log(shell.file("event-log.bin")).events


def _past_the_proxy(shell: Shell, _printed: bytes) -> None:
    asked = "python3 -c \"import urllib.request as u; print(bool(u.proxy_bypass('169.254.169.254')))\""
    assert shell.run(asked) == (0, "False\n")
    assert shell.run(as_here('export NO_PROXY="169.254.169.254,$NO_PROXY"'), asked) == (0, "True\n")


def _curl_takes_the_bundle(shell: Shell, _printed: bytes) -> None:
    asked = f"curl -s -o /dev/null {STAGE.attestation}/certs"
    without = "SSL_CERT_FILE= CURL_CA_BUNDLE= "
    assert shell.run(without + asked)[0] == 60  # curl's own number for a certificate that it does not trust
    bundle = as_here("export CURL_CA_BUNDLE=/etc/pki/tls/certs/ca-bundle.crt")
    assert shell.run("unset CURL_CA_BUNDLE", bundle, "SSL_CERT_FILE= " + asked) == (0, "")


SHOWN: Mapping[str, Callable[[Shell, bytes], None]] = MappingProxyType(
    {
        "sudo tpm2_dictionarylockout": _nothing,
        "sudo tpm2_nvread -C o 0x01400001": _report_as_bytes,
        "sudo tpm2_nvread -C o 0x01400001 -o hcl-report.bin && skrkit inspect hcl-report.bin": _report_in_a_file,
        'curl -s --noproxy "*" -H Metadata:true "http://169.254.169.254/metadata/instance': _instance,
        'curl -s -H Metadata:true "http://169.254.169.254/metadata/identity': _token_of_no_identity,
        "openssl s_client": _verified_by_the_authority,
        "curl -s https://kdsintf.amd.com": _crl,
        "curl -s {authority}": _discovery,
        "sudo cp": _events,
        "export NO_PROXY": _past_the_proxy,
        "export CURL_CA_BUNDLE": _curl_takes_the_bundle,
    }
)


def shown_by(command: str) -> Callable[[Shell, bytes], None]:
    return SHOWN[max((words for words in SHOWN if command.startswith(words)), key=len)]


@pytest.mark.parametrize(
    "command", [each for each in COMMANDS if each not in NOT_HERE and not each.startswith("skrkit")]
)
def test_a_command_of_the_shell_does_what_its_cause_says(shell: Shell, command: str) -> None:
    program = command.removeprefix("sudo ").partition(" ")[0]
    if program != "export" and shutil.which(program) is None:
        pytest.skip(f"NO {program.upper()}: this command of the catalogue is not run. Install it.")
    assert shell.run(f"{{ {as_here(command)}\n}} > printed") == (0, "")
    shown_by(command)(shell, shell.file("printed"))


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.startswith("skrkit")])
def test_the_chips_certificate_is_fetched(shell: Shell, command: str) -> None:
    """From the sandbox's AMD, whose root the product does not trust: that is the one thing that fails."""
    if shutil.which("tpm2_nvread") is None:
        pytest.skip("NO TPM2_NVREAD: the report of the VM is not read. Install tpm2-tools.")
    code, printed = shell.run("tpm2_nvread -C o 0x01400001 -o hcl-report.bin", as_here(command) + " --json")
    assert code == 4
    failed = [step["id"] for step in json.loads(printed)["steps"] if step["verdict"] == "failed"]
    assert failed == ["chain.root_pinned"]


def test_what_is_not_run_or_run_otherwise_stands_in_the_catalogue() -> None:
    assert set(NOT_HERE) <= set(COMMANDS)
    for words, _, why in ELSEWHERE:
        assert why
        assert any(words in command for command in COMMANDS)
