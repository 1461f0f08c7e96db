"""`skrkit sandbox` as a user has it: in a process, by what it prints, by its exit codes, and by what programs see."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skrkit.sandbox.endpoint import Endpoint
from tests.sandbox.running import environment, execute, skrkit, staged

VM = "cvm-1"
PRINT_ENVIRONMENT = (sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A sandbox with one VM."""
    with staged(tmp_path_factory.mktemp("cli") / "a home's folder") as endpoint:  # names like this must be quoted
        yield endpoint


def test_up_finds_the_one_that_runs_and_says_where(sandbox: Endpoint) -> None:
    said = skrkit(sandbox.home, "sandbox", "up")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout == f"The sandbox runs. Its door is {sandbox.proxy_url}; its state is in {sandbox.home}.\n"
    as_json = json.loads(skrkit(sandbox.home, "sandbox", "up", "--json").stdout)
    place = {"running": True, "proxy": sandbox.proxy_url, "home": str(sandbox.home)}
    assert as_json == place | {"seed": "", "clock": ""}


def test_status_says_what_runs_and_no_secret(sandbox: Endpoint) -> None:
    text, as_json = skrkit(sandbox.home, "sandbox", "status"), skrkit(sandbox.home, "sandbox", "status", "--json")
    said = json.loads(as_json.stdout)
    assert (said["running"], said["pid"], said["tenant"]) == (True, sandbox.pid, sandbox.tenant)
    assert said["vms"] == [
        {"name": VM, "proxy": f"http://127.0.0.1:{sandbox.vm(VM).proxy_port}", "tcti": sandbox.vm(VM).tcti}
    ]
    assert said["documents"]["machine"] == 1
    assert said["uptime_s"] >= 0
    for line in (sandbox.proxy_url, sandbox.tenant, sandbox.subscription, f"VM {VM}", sandbox.vm(VM).tcti):
        assert line in text.stdout
    for secret in (sandbox.secret, sandbox.client_secret):
        assert secret not in text.stdout + as_json.stdout + (sandbox.home / "sandbox.log").read_text()


def test_status_where_none_runs(tmp_path: Path) -> None:
    said = skrkit(tmp_path, "sandbox", "status")
    assert (said.returncode, said.stdout.splitlines()) == (
        0,
        [f"No sandbox runs. There is no state yet in {tmp_path}.", "Start it: skrkit sandbox up"],
    )
    assert list(tmp_path.iterdir()) == []
    assert skrkit(tmp_path, "sandbox", "down").stdout == "No sandbox runs.\n"
    assert json.loads(skrkit(tmp_path, "sandbox", "down", "--json").stdout) == {"ran": False}


def test_reset_asks_first(tmp_path: Path) -> None:
    assert skrkit(tmp_path, "sandbox", "up").returncode == 0
    for answer in (None, "y\n"):  # a pipe is no terminal: its yes is not a person's
        refused = skrkit(tmp_path, "sandbox", "reset", stdin=answer)
        assert refused.returncode == 2
        assert "fix: skrkit sandbox reset --yes" in refused.stderr
        assert (tmp_path / "state.db").exists()
    done = skrkit(tmp_path, "sandbox", "reset", "--yes", "--json")
    assert done.returncode == 0
    assert {"state.db", "ca.pem"} <= set(json.loads(done.stdout)["removed"])
    assert skrkit(tmp_path, "sandbox", "status").stdout.startswith("No sandbox runs. There is no state yet")


def seen(sandbox: Endpoint, *where: str, **before: Any) -> dict[str, str]:
    """The environment of a program that `exec` runs, where the caller's has `before`."""
    done = skrkit(sandbox.home, "sandbox", "exec", *where, "--", *PRINT_ENVIRONMENT, **before)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


MISLEADING = {
    "NO_PROXY": "*", "no_proxy": "169.254.169.254", "ALL_PROXY": "http://192.0.2.1:1", "HTTPS_PROXY": "http://192.0.2.1:1",
    "SSL_CERT_FILE": "/nowhere", "AZURE_CLIENT_SECRET": "of a real tenant", "AZURE_CLIENT_ID": "real",
    "IDENTITY_ENDPOINT": "http://192.0.2.1", "MSI_ENDPOINT": "http://192.0.2.1", "TPM2TOOLS_TCTI": "device:/dev/tpm0",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://192.0.2.1", "AZURE_AUTHORITY_HOST": "login.microsoftonline.us",
}  # fmt: skip


def test_outside_a_vm_a_program_is_the_operator(sandbox: Endpoint) -> None:
    found = seen(sandbox, **MISLEADING)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        assert found[name] == sandbox.proxy_url
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
        assert found[name] == str(sandbox.ca_file)
    assert (found["AZURE_TENANT_ID"], found["AZURE_SUBSCRIPTION_ID"]) == (sandbox.tenant, sandbox.subscription)
    assert (found["AZURE_CLIENT_ID"], found["AZURE_CLIENT_SECRET"]) == (sandbox.client_id, sandbox.client_secret)
    assert not {"NO_PROXY", "no_proxy", "ALL_PROXY", "TPM2TOOLS_TCTI", "IDENTITY_ENDPOINT", "MSI_ENDPOINT",
                "AZURE_POD_IDENTITY_AUTHORITY_HOST", "AZURE_AUTHORITY_HOST"} & set(found)  # fmt: skip


def test_in_a_vm_a_program_has_its_tpm_and_no_secret(sandbox: Endpoint) -> None:
    found = seen(sandbox, "--vm", VM.upper(), **MISLEADING)
    assert found["HTTPS_PROXY"] == found["http_proxy"] == f"http://127.0.0.1:{sandbox.vm(VM).proxy_port}"
    assert found["TPM2TOOLS_TCTI"] == sandbox.vm(VM).tcti
    assert Path(found["SKRKIT_EVENT_LOG"]).stat().st_size > 1000
    assert not {"AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "NO_PROXY"} & set(found)
    assert sandbox.client_secret not in found.values()


@pytest.mark.parametrize("vm", [None, VM])
def test_env_leads_a_shell_to_the_same_place(sandbox: Endpoint, vm: str | None) -> None:
    where = ("--vm", vm) if vm else ()
    script = skrkit(sandbox.home, "sandbox", "env", *where).stdout + "\nexec env -0"
    before = environment(sandbox.home, **MISLEADING)
    ran = subprocess.run(
        ["sh", "-eu"], input=script, env=before, capture_output=True, text=True, check=True, timeout=20
    )
    by_shell = dict(line.split("=", 1) for line in ran.stdout.split("\0") if line)
    by_exec = seen(sandbox, *where, **MISLEADING)
    of_the_shell = {"_", "PWD", "OLDPWD", "SHLVL", "LC_CTYPE"}
    assert {name: value for name, value in by_shell.items() if name not in of_the_shell} == {
        name: value for name, value in by_exec.items() if name not in of_the_shell
    }


def test_env_for_other_shells_and_as_json(sandbox: Endpoint) -> None:
    said = json.loads(skrkit(sandbox.home, "sandbox", "env", "--json").stdout)
    assert said["set"]["HTTPS_PROXY"] == sandbox.proxy_url
    assert "NO_PROXY" in said["unset"]
    fish = skrkit(sandbox.home, "sandbox", "env", "--shell", "fish").stdout.splitlines()
    assert f"set -gx HTTPS_PROXY {sandbox.proxy_url}" in fish
    assert "set -e NO_PROXY" in fish
    powershell = skrkit(sandbox.home, "sandbox", "env", "--shell", "powershell").stdout.splitlines()
    ca = str(sandbox.ca_file).replace("'", "''")
    assert f"$env:SSL_CERT_FILE = '{ca}'" in powershell
    assert "Remove-Item Env:NO_PROXY -ErrorAction SilentlyContinue" in powershell


def test_exec_passes_arguments_streams_and_exit_code(sandbox: Endpoint) -> None:
    program = "import sys; print(sys.argv[1:], sys.stdin.read()); print('e', file=sys.stderr); sys.exit(42)"
    done = skrkit(
        sandbox.home, "sandbox", "exec", "--", sys.executable, "-c", program, "--json", "--vm", "a b", stdin="given"
    )
    assert (done.returncode, done.stdout, done.stderr) == (42, "['--json', '--vm', 'a b'] given\n", "e\n")
    assert skrkit(sandbox.home, "sandbox", "exec", "true").returncode == 0  # without -- too


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_reaches_the_program(sandbox: Endpoint, number: signal.Signals) -> None:
    program = (
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(7))\n"
        "print('ready', flush=True)\n"
        "time.sleep(30)\n"
    )
    command = [sys.executable, "-m", "skrkit", "sandbox", "exec", "--", sys.executable, "-c", program]
    with subprocess.Popen(command, env=environment(sandbox.home), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        os.kill(running.pid, number)
        assert running.wait(timeout=10) == 7


def test_a_program_in_a_pipe_ends_when_its_reader_does(sandbox: Endpoint) -> None:
    script = f"{sys.executable} -m skrkit sandbox exec -- yes | head -n 1"
    done = subprocess.run(
        ["sh", "-c", script], env=environment(sandbox.home), capture_output=True, text=True, check=False, timeout=20
    )
    assert (done.stdout, done.stderr) == ("y\n", "")


def refused(sandbox: Endpoint, *arguments: str) -> str:
    done = skrkit(sandbox.home, "sandbox", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def test_what_exec_refuses(sandbox: Endpoint, tmp_path: Path) -> None:
    for action in (("exec", "--vm", "cvm-2", "--", "true"), ("env", "--vm", "cvm-2")):
        said = refused(sandbox, *action)
        assert f"expected: {VM}" in said
        assert "found: cvm-2" in said
    missing = refused(sandbox, "exec", "--", "no-such-program")
    assert "found: no-such-program" in missing
    assert "expected: a program after --" in refused(sandbox, "exec")
    assert "expected: a program after --" in refused(sandbox, "exec", "--vm", VM, "--")
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x00\x01\x02 no program at all")
    broken.chmod(0o755)
    assert "Exec format error" in refused(sandbox, "exec", "--", str(broken))


def test_an_unknown_action_is_a_usage_error(tmp_path: Path) -> None:
    assert skrkit(tmp_path, "sandbox", "explode").returncode == 2
    assert skrkit(tmp_path, "sandbox").returncode == 2
    assert skrkit(tmp_path, "sandbox", "up", "--port", "x").returncode == 2


@pytest.mark.skipif(shutil.which("curl") is None, reason="NO CURL: `exec` was not tried with it")
def test_curl_is_in_the_sandbox_and_nowhere_else(sandbox: Endpoint) -> None:
    url = "https://login.microsoftonline.com/common/discovery/instance"
    assert "preferred_network" in execute(sandbox.home, "curl", "-sS", "--max-time", "10", url)
    name = "http://169.254.169.254/metadata/instance/compute/name?api-version=2021-02-01&format=text"
    assert execute(sandbox.home, "curl", "-sS", "-H", "Metadata: true", name, vm=VM) == VM
    elsewhere = json.loads(execute(sandbox.home, "curl", "-sS", "--max-time", "10", "https://example.com/"))
    assert elsewhere["error"]["code"] == "HostNotInSandbox"
