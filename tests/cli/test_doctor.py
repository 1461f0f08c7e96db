"""`skrkit doctor` as a user runs it: where it finds itself, what it prints, its exit codes, what it does not load."""

from __future__ import annotations

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

from skrkit.cloud import Cloud
from skrkit.doctor.host import Host, host_of
from skrkit.sandbox import process
from skrkit.sandbox.endpoint import read_endpoint
from skrkit.sandbox.faults.client import switch_off, switch_on
from skrkit.walkthrough import Walk
from tests.doctor.conftest import STAGE
from tests.sandbox.running import environment, skrkit
from tests.tpm.conftest import swtpm, swtpm_port  # noqa: F401 - fixtures

MEMBERS = {"id", "verdict", "proves", "evidence", "fix"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state folder of a sandbox that was walked through as far as step 3."""
    folder = tmp_path_factory.mktemp("doctor-cli")
    try:
        Walk(cloud=Cloud.sandbox(home=folder), stage=STAGE, steps=(1, 2, 3)).run()
        yield folder
    finally:
        process.reset(folder)


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine without TPM2TOOLS_TCTI and without a sandbox."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TPM2", "SKRKIT", "AZURE"))}
    return {**kept, "SKRKIT_HOME": str(tmp_path)}


def doctor(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "skrkit", "doctor", *arguments],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def checks(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    document = json.loads(done.stdout)
    assert list(document) == ["checks"]
    for check in document["checks"]:
        assert set(check) >= MEMBERS
        assert set(check) <= MEMBERS | {"cause", "facts"}
    return {check["id"]: check for check in document["checks"]}


@pytest.mark.skipif(bool(host_of().tpm), reason="THIS MACHINE HAS A TPM: the words for one without were not tested")
def test_an_ordinary_machine_is_told_calmly_what_it_is(nowhere: dict[str, str]) -> None:
    done = doctor(nowhere)
    assert (done.returncode, done.stderr) == (0, "")
    assert "This is no confidential VM" in done.stdout
    assert "Nothing is wrong with that" in done.stdout
    assert "skrkit doctor --cloud sandbox" in done.stdout
    machine = checks(doctor(nowhere, "--json"))
    assert list(machine) == ["machine.kind"]
    assert machine["machine.kind"]["verdict"] == "ok"
    assert machine["machine.kind"]["facts"]["kind"] == "ordinary"


@pytest.mark.skipif(bool(host_of().tpm), reason="THIS MACHINE HAS A TPM: its absence was not tested")
def test_a_machine_that_is_to_be_a_confidential_vm_and_is_none_fails(nowhere: dict[str, str]) -> None:
    done = doctor(nowhere, "--inside", "--json")
    found = checks(done)
    assert done.returncode == 4
    assert (found["machine.kind"]["verdict"], found["machine.kind"]["cause"]) == ("failed", "machine.not-a-cvm")
    assert found["vtpm.reachable"]["verdict"] == "failed"
    assert found["report.fresh"]["verdict"] == "skipped"


def test_the_local_checks_load_no_azure_sdk(nowhere: dict[str, str]) -> None:
    program = (
        "import sys\n"
        "from skrkit.cli.main import main\n"
        "code = main(['doctor', '--json'])\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in "
        "('azure', 'msal', 'requests', 'rich', 'cryptography')), file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=nowhere, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr.strip() == "[]"


def test_a_tpm_without_a_report_is_no_confidential_vm_and_nothing_is_written_to_it(
    nowhere: dict[str, str],
    swtpm_port: int,  # noqa: F811 - the fixture
) -> None:
    _wait_for(swtpm_port + 1)
    environ = nowhere | {"TPM2TOOLS_TCTI": f"swtpm:host=127.0.0.1,port={swtpm_port}"}
    calm = doctor(environ, "--json")
    assert calm.returncode == 0
    assert checks(calm)["machine.kind"]["facts"]["kind"] == "vtpm-without-report"
    strict = doctor(environ, "--inside", "--json")
    found = checks(strict)
    assert strict.returncode == 4
    assert found["machine.kind"]["cause"] in ("machine.no-nv-index", "machine.trusted-launch")
    assert found["vtpm.reachable"]["verdict"] == "ok"
    assert (found["vtpm.nv-indexes"]["verdict"], found["vtpm.nv-indexes"]["facts"]) == (
        "failed",
        {"0x01400001": None, "0x01400002": None, "0x01C101D0": None},
    )
    assert found["pcr.banks"]["facts"]["banks"][:2] == ["sha1", "sha256"]
    assert found["imds.reachable"]["verdict"] == "skipped"
    again = checks(doctor(environ, "--inside", "--json"))
    assert again["vtpm.nv-indexes"]["facts"]["0x01400002"] is None  # where a report's user data would go


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError("swtpm did not start")


def test_the_sandbox_is_seen_from_both_sides(home: Path) -> None:
    done = skrkit(home, "doctor", "--cloud", "sandbox")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Doctor's report: inside VM cvm-1 and from outside, sandbox" in done.stdout
    assert "27 ok · 1 skipped" in done.stdout


@pytest.mark.parametrize(
    ("side", "there", "absent"), [("inside", "maa.attests", "vault.grant"), ("outside", "vault.grant", "maa.attests")]
)
def test_one_side_alone_is_looked_at_where_it_is_named(home: Path, side: str, there: str, absent: str) -> None:
    done = skrkit(home, "doctor", "--cloud", "sandbox", f"--{side}", "--json")
    found = checks(done)
    assert done.returncode == 0, done.stdout
    assert found[there]["verdict"] == "ok"
    assert absent not in found


def test_in_a_shell_inside_the_vm_it_is_inside_that_vm(home: Path) -> None:
    command = (sys.executable, "-m", "skrkit", "doctor", "--json", "--release")
    done = skrkit(home, "sandbox", "exec", "--vm", "cvm-1", "--", *command)
    found = checks(done)
    assert done.returncode == 0, done.stdout
    assert found["release.done"]["verdict"] == "ok"
    assert found["key.attributes"]["verdict"] == "skipped"
    assert "vault.grant" not in found


def test_a_fault_is_exit_code_4_with_its_name_and_what_mends_it(home: Path) -> None:
    switch_on("key.disabled", home=home)
    try:
        done = skrkit(home, "doctor", "--cloud", "sandbox")
        found = checks(skrkit(home, "doctor", "--cloud", "sandbox", "--json"))
    finally:
        switch_off("key.disabled", home=home)
    assert (done.returncode, done.stderr) == (4, "")
    assert "✗ failed       key.attributes" in done.stdout
    assert "Begin with key.attributes" in done.stdout
    assert "skrkit explain key.disabled" in " ".join(done.stdout.split())
    assert found["key.attributes"]["cause"] == "key.disabled"
    assert found["key.attributes"]["fix"] in " ".join(done.stdout.split())


def test_what_could_not_be_checked_is_exit_code_4_unless_one_asks_for_part(home: Path) -> None:
    endpoint = read_endpoint(home)
    assert endpoint is not None
    log = Path(endpoint.vm("cvm-1").event_log)  # Linux shows it to root alone; here it is taken away
    content = log.read_bytes()
    log.unlink()
    try:
        done = skrkit(home, "doctor", "--cloud", "sandbox", "--inside", "--json")
        partial = skrkit(home, "doctor", "--cloud", "sandbox", "--inside", "--json", "--partial")
    finally:
        log.write_bytes(content)
    found = checks(done)
    assert (done.returncode, partial.returncode) == (4, 0)
    assert found["event-log.replays"]["verdict"] == "not-checked"
    assert "sudo" in found["event-log.replays"]["fix"]
    assert found["secure-boot.on"]["verdict"] == "not-checked"  # the paravisor's word alone is not enough
    assert found["maa.attests"]["verdict"] == "skipped"
    assert found["release.preflight"]["verdict"] == "ok"  # which needs no root


def test_a_vm_that_the_sandbox_does_not_have_is_a_usage_error(home: Path) -> None:
    done = skrkit(home, "doctor", "--cloud", "sandbox", "--vm", "nobody", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["found"] == "nobody"


def test_both_sides_at_once_are_refused_by_name(nowhere: dict[str, str]) -> None:
    done = doctor(nowhere, "--inside", "--outside")
    assert done.returncode == 2
    assert "not allowed with" in done.stderr


def test_a_tpm_that_is_for_root_alone_worries_nobody_on_a_pc(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from skrkit.doctor.checks import HERE
    from skrkit.doctor.visit import Names, Visit
    from skrkit.errors import ServiceError

    def refused(_spec: str) -> None:
        raise ServiceError(
            what="TPM transport", where="/dev/tpmrm0", expected="a TPM", found="PermissionError: denied", fix="sudo"
        )

    monkeypatch.setattr("skrkit.tpm.transport.open_transport", refused)
    host = Host(system="Linux", architecture="x86_64", vendor="LENOVO", tpm="/dev/tpmrm0")
    cloud = replace(Cloud.azure(), tpm_spec="device:/dev/tpmrm0")
    calm = HERE[0].run(Visit(host=host, names=Names(), inside=cloud, calm=True))
    assert (calm.verdict, calm.facts["kind"]) == ("ok", "ordinary")
    azure = replace(host, chassis="7783-7084-3265-9085-8269-3286-77")
    asked = Visit(host=azure, names=Names(), inside=cloud, calm=True)
    assert HERE[0].run(asked).verdict == "not-checked"
    permitted = HERE[1].run(asked)
    assert (permitted.verdict, permitted.cause) == ("failed", "machine.tpm-permission")
    assert "sudo" in permitted.fix


@pytest.mark.skipif(os.name == "nt", reason="NO SIGINT: Ctrl-C was not tested")
def test_ctrl_c_ends_it_at_once_even_where_nobody_answers(home: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environ = environment(home, HTTPS_PROXY=proxy, HTTP_PROXY=proxy, AZURE_TENANT_ID="t", AZURE_CLIENT_ID="c")
        environ |= {"AZURE_CLIENT_SECRET": "s", "AZURE_SUBSCRIPTION_ID": "s", "https_proxy": proxy, "http_proxy": proxy}
        command = [sys.executable, "-m", "skrkit", "doctor", "--outside", "--cloud", "azure"]
        running = subprocess.Popen(
            command,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        silent.settimeout(30)
        connection, _ = silent.accept()  # it has asked, and waits
        before = time.monotonic()
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=15)
        connection.close()
    assert time.monotonic() - before < 10
    assert running.returncode == 130
    assert said == ("", "\nInterrupted.\n")
