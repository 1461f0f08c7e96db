"""`skrkit walkthrough` as a user runs it: what it shows, saves and hides, and what it does when it may not go on."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.pipeline.transport import RequestsTransport
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key

from skrkit.cli.main import main
from skrkit.release import flow
from skrkit.release.unwrap import ReleasedKey, unwrap
from skrkit.sandbox import process
from tests.sandbox.running import environment, skrkit

NAMES = ("--resource-group", "g", "--vm", "m", "--vault", "myvault", "--key", "k")
NAMED = (*NAMES, "--attestation", "https://sharedweu.weu.attest.azure.net", "--subscription", "s")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder whose sandbox ends with these tests."""
    folder = tmp_path_factory.mktemp("walkthrough")
    try:
        yield folder
    finally:
        process.reset(folder)


@pytest.fixture
def inside(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, for the command run in this process."""
    monkeypatch.setenv("SKRKIT_HOME", str(home))
    return home


class Secrets:
    """What must stay hidden of one walk: every credential that was sent or received, and every released key."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bearers: set[str] = set()
        self.keys: list[ReleasedKey] = []
        send = RequestsTransport.send

        def sent(transport: Any, request: Any, **options: Any) -> Any:
            self.bearers.add(request.headers.get("Authorization", "").removeprefix("Bearer "))
            return send(transport, request, **options)

        def unwrapped(*arguments: Any, **options: Any) -> ReleasedKey:
            self.keys.append(unwrap(*arguments, **options))
            return self.keys[-1]

        monkeypatch.setattr(RequestsTransport, "send", sent)
        monkeypatch.setattr(flow, "unwrap", unwrapped)

    def texts(self, home: Path) -> Iterator[str]:
        endpoint = process.running(home)
        assert endpoint is not None
        yield from (endpoint.secret, endpoint.client_secret)
        bearers = self.bearers - {""}
        assert len(bearers) >= 3  # the operator's for ARM and the vault, the VM's for the vault
        for bearer in bearers:
            yield from (bearer, bearer.rpartition(".")[2])  # a token without its signature opens nothing; with it, all
        assert len(self.keys) >= 7
        for key in self.keys:
            yield from _forms(key.material)


def _forms(material: bytes) -> Iterator[str]:
    """PKCS#8 as hex, base64, base64url and PEM, and the private number in any of them."""
    key = load_der_private_key(material, None)
    numbers: Any = key.private_numbers()  # type: ignore[union-attr]
    private = numbers.d if hasattr(numbers, "d") else numbers.private_value
    blobs = [material, private.to_bytes((private.bit_length() + 7) // 8, "big")]
    for blob in blobs:
        yield from (blob.hex(), blob.hex().upper(), base64.b64encode(blob).decode())
        yield base64.urlsafe_b64encode(blob).decode().rstrip("=")
    yield str(private)
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        pem = key.private_bytes(Encoding.PEM, form, NoEncryption()).decode().splitlines()
        yield from (pem[0], pem[1])


def held(text: str, secrets: Iterator[str]) -> list[str]:
    plain = "".join(text.split())
    return [secret[:40] for secret in secrets if secret in text or "".join(secret.split()) in plain]


@pytest.mark.parametrize("how", ["json", "full", "short"])
def test_nothing_secret_is_printed_or_saved(
    inside: Path, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secrets = Secrets(monkeypatch)
    option = {"json": ["--json"], "full": ["--full"], "short": []}[how]
    monkeypatch.setenv("COLUMNS", "100000")  # a secret cut in two by a line's end would not be found
    assert main(["walkthrough", "--save", str(tmp_path / "out"), *option]) == 0
    captured = capsys.readouterr()
    files = {path.name: path.read_bytes().decode("latin-1") for path in (tmp_path / "out").iterdir()}
    assert len(files) > 50
    texts = {"stdout": captured.out, "stderr": captured.err, **files}
    kept = list(secrets.texts(inside))
    assert all(len(secret) > 20 for secret in kept)
    assert {name: found for name, text in texts.items() if (found := held(text, iter(kept)))} == {}
    for secret in kept[:2]:  # and in no other encoding of the two that open the sandbox
        encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
        assert not [name for name, text in texts.items() if encoded in text or secret.encode().hex() in text]


def test_the_attestation_token_is_saved_and_its_signature_not_shown(
    inside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["walkthrough", "--json", "--save", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    tokens = [path.read_text() for path in tmp_path.glob("4-*-maa-token.jwt")]
    assert len(tokens) == 2
    assert not [token for token in tokens if token in shown or token.rpartition(".")[2] in shown]


def test_json_is_one_document_and_unique_names(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["walkthrough", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["cloud"] == "sandbox"
    names = [(artefact["step"], artefact["name"]) for artefact in document["artefacts"]]
    assert len(names) == len(set(names)) == 41
    assert [step for step, _ in names] == sorted(step for step, _ in names)
    for artefact in document["artefacts"]:
        assert artefact["title"]
        assert artefact["proves"].endswith((".", "!"))
        assert artefact["next"].endswith(".")
        assert artefact["body"]


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_one_step_is_shown_alone(inside: Path, step: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["walkthrough", "--json", "--step", str(step)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {artefact["step"] for artefact in document["artefacts"]} == {step}


def test_one_step_in_words_has_one_title(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["walkthrough", "--step", "2"]) == 0
    captured = capsys.readouterr().out
    assert [number for number in "1234" if f"Step {number} of 4" in captured] == ["2"]
    assert "A key was released" not in captured


def test_save_writes_an_index_and_private_files_and_does_so_again(inside: Path, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    for _ in range(2):
        assert main(["walkthrough", "--json", "--save", str(folder)]) == 0
        index = json.loads((folder / "index.json").read_text())
        named = {name for entry in index["artefacts"] for name in entry["files"]}
        assert {path.name for path in folder.iterdir()} == {*named, "index.json"}
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_walk_that_fails_saves_what_it_made(inside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["walkthrough", "--json"]) == 0  # its key has a policy for the default provider
    capsys.readouterr()
    other = "https://sharedneu.neu.attest.azure.net"
    assert main(["walkthrough", "--json", "--attestation", other, "--save", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    error = json.loads(captured.out)
    assert (error["error"], error["found"]) == ("UsageError", "a key with another policy")
    steps = {entry["step"] for entry in json.loads((tmp_path / "index.json").read_text())["artefacts"]}
    assert steps == {1, 2, 3}
    assert "Saved " in captured.err


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every socket that was opened and every name that was asked for; each attempt fails."""
    tried: list[object] = []

    def refuse(*arguments: object, **_: object) -> Any:
        tried.append(arguments)
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    return tried


def test_azure_without_names_lists_them(
    no_network: list[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AZURE_SUBSCRIPTION_ID", raising=False)
    assert main(["walkthrough", "--cloud", "azure", "--yes", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)
    assert error["error"] == "UsageError"
    for name in ("--resource-group", "--vm", "--vault", "--key", "--attestation", "--subscription"):
        assert name in error["found"]
    assert no_network == []


@pytest.mark.parametrize(
    "wrong",
    [
        ("--vault", "https://myvault.vault.azure.net"),
        ("--vault", "a.evil.example/#"),
        ("--attestation", "http://a.b"),
        ("--attestation", "https://a.b/attest"),
    ],
)
def test_an_odd_name_is_refused_before_anything_is_done(
    no_network: list[object], wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["walkthrough", "--cloud", "azure", "--yes", "--json", *NAMED, *wrong]) == 2
    assert wrong[1] in json.loads(capsys.readouterr().out)["found"]
    assert no_network == []


@pytest.mark.parametrize(
    ("step", "lines"),
    [
        (None, ("identity", "release", "create", "attest")),
        ("1", ("identity",)),
        ("3", ("identity", "release", "create")),
        ("4", ("attest",)),
    ],
)
def test_azure_without_yes_prints_the_plan_and_touches_nothing(
    no_network: list[object], step: str | None, lines: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ("--step", step) if step else ()
    assert main(["walkthrough", "--cloud", "azure", "--json", *NAMED, *chosen]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["done"] is False
    assert len(document["plan"]) == len(lines)
    assert all(word in line for word, line in zip(lines, document["plan"], strict=True))
    assert main(["walkthrough", "--cloud", "azure", *NAMED, *chosen]) == 0
    assert "Nothing was done. Add --yes to do it." in capsys.readouterr().out
    assert no_network == []


@pytest.mark.skipif(Path("/dev/tpmrm0").exists(), reason="this machine has a TPM")
@pytest.mark.parametrize("chosen", [(), ("--step", "4")])
def test_azure_s_step_4_outside_a_vm_is_refused_before_anything_is_done(
    no_network: list[object], chosen: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["walkthrough", "--cloud", "azure", "--yes", "--json", *NAMED, *chosen]) == 2
    error = json.loads(capsys.readouterr().out)
    assert (error["error"], error["where"]) == ("UsageError", "/dev/tpmrm0")
    assert error["fix"].startswith("Copy skrkit into m and run the same command there")
    assert "--step 4" in error["fix"]
    assert no_network == []


@pytest.mark.skipif(os.name == "nt", reason="a terminal of POSIX")
def test_an_interruption_leaves_the_terminal_clean(home: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "skrkit", "walkthrough"],
        env=environment(home, TERM="xterm"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        # A shell's background job ignores SIGINT, and so would every process that the tests start there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(theirs)
    said, interrupted, deadline = b"", False, time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux says so when the last writer is gone
            break
        if not chunk:
            break
        said += chunk
        if not interrupted and b"Step 1 of 4" in said:
            interrupted = True
            child.send_signal(signal.SIGINT)
    os.close(ours)
    assert child.wait(30) == 130
    assert said.rstrip().endswith(b"Interrupted.")
    assert said.count(b"\x1b[?25l") >= 1
    assert said.rfind(b"\x1b[?25h") > said.rfind(b"\x1b[?25l")  # the cursor is back
    assert b"Traceback" not in said


def test_the_state_of_an_interrupted_walk_serves_the_next(home: Path) -> None:
    done = skrkit(home, "walkthrough", "--json")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["artefacts"]) == 41


def test_what_an_sdk_logs_is_not_said_beside_the_error(home: Path) -> None:
    done = skrkit(home, "walkthrough", "--json", MSI_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 2
    assert json.loads(done.stdout)["where"] == "environment variable MSI_ENDPOINT"
    assert done.stderr.startswith("error: managed identity at environment variable MSI_ENDPOINT\n")
