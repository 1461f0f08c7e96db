"""The process: one of it, found again, killed and come back, and clear words when it cannot be had."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from skrkit.errors import ServiceError, UsageError
from skrkit.sandbox import process
from skrkit.sandbox.endpoint import ENDPOINT_FILE, LOCK_FILE, LOG_FILE, STATE_FILE, Endpoint, read_endpoint
from skrkit.tpm.client import Tpm
from skrkit.tpm.transport import open_transport
from tests.sandbox import running
from tests.sandbox.running import STAGE, bearer, send, staged

resource = pytest.importorskip("resource", reason="WINDOWS: its signals and limits are others; nothing here is tested.")

GROUPS_API = "api-version=2025-04-01"
USER_DATA = 0x01400002


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A state folder of one test's own. What runs there is ended."""
    yield tmp_path / "home"
    process.down(tmp_path / "home")


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state folder of a sandbox with a stage, which the tests may end as they like."""
    home = tmp_path_factory.mktemp("mortal")
    with staged(home):
        yield home


def wait_for(true: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.01)


def kill(endpoint: Endpoint) -> None:
    """End the process as nothing can be prepared for."""
    os.kill(endpoint.pid, signal.SIGKILL)
    wait_for(lambda: process.running(endpoint.home) is None)


def put_group(endpoint: Endpoint, token: str, name: str) -> running.Answer:
    url = f"{running.group_url(endpoint, name)}?{GROUPS_API}"
    return send(endpoint, "PUT", url, {"location": "westeurope"}, Authorization=bearer(token))


def group_names(endpoint: Endpoint) -> set[str]:
    url = f"{running.ARM}/subscriptions/{endpoint.subscription}/resourceGroups?{GROUPS_API}"
    answer = send(endpoint, "GET", url, Authorization=bearer(running.operator_token(endpoint)))
    return {str(group["name"]) for group in answer.json()["value"]}


def read_public(port: int) -> bytes:
    """The vTPM's answer to TPM2_ReadPublic of the AK, asked over its socket."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as opened:
        opened.sendall(bytes.fromhex("80010000000e0000017381000003"))
        answer = opened.recv(4096)
    assert answer[6:10] == bytes(4)
    return answer


@contextmanager
def listening(answer: bytes = b"") -> Iterator[int]:
    """Somebody else's server on some port, which says `answer` to everybody."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                opened, _ = server.accept()
            except OSError:
                return
            with opened:
                opened.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def test_the_files_are_for_their_owner_alone(mortal: Path) -> None:
    assert stat.S_IMODE((mortal / ENDPOINT_FILE).stat().st_mode) == 0o600
    endpoint = process.up(mortal)
    assert json.loads((mortal / ENDPOINT_FILE).read_text())["secret"] == endpoint.secret
    assert len(endpoint.secret) >= 32
    assert endpoint.secret not in repr(endpoint)
    assert endpoint.client_secret not in repr(endpoint)


def test_a_new_home_is_private(home: Path) -> None:
    process._make_home(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_several_ups_at_once_end_in_one_process(home: Path) -> None:
    home.mkdir()
    command = [sys.executable, "-m", "skrkit", "sandbox", "up", "--json"]
    starting = [
        subprocess.Popen(command, env=running.environment(home), stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    said = [json.loads(each.communicate(timeout=40)[0]) for each in starting]
    assert [each.returncode for each in starting] == [0, 0, 0]
    endpoint = read_endpoint(home)
    assert endpoint is not None
    assert {each["proxy"] for each in said} == {endpoint.proxy_url}
    assert process.status(home)["pid"] == endpoint.pid
    assert process.up(home) == endpoint
    one_more = [sys.executable, "-m", "skrkit.sandbox", "--home", str(home)]
    assert subprocess.run(one_more, check=False, timeout=20).returncode == process.ALREADY_RUNNING


def test_down_and_up_keep_ports_tenant_and_root(mortal: Path) -> None:
    before = process.up(mortal)
    root = before.ca_file.read_bytes()
    ak = read_public(before.vm("cvm-1").tpm_port)
    assert process.down(mortal) is True
    assert not (mortal / ENDPOINT_FILE).exists()
    assert process.down(mortal) is False
    said = process.status(mortal)
    assert said == {"running": False, "home": str(mortal), "state": True}
    after = process.up(mortal)
    assert (after.port, after.vms) == (before.port, before.vms)
    assert (after.tenant, after.client_secret) == (before.tenant, before.client_secret)
    assert after.ca_file.read_bytes() == root
    assert read_public(after.vm("cvm-1").tpm_port) == ak
    assert after.pid != before.pid
    assert after.secret != before.secret


def test_a_killed_sandbox_comes_back_with_all_that_was_acknowledged(mortal: Path) -> None:
    before = process.up(mortal)
    token = running.operator_token(before)
    assert put_group(before, token, "just-before").status == 201
    with Tpm(open_transport(before.vm("cvm-1").tcti)) as tpm:
        tpm.nv_define(USER_DATA, 64)
        tpm.nv_write(USER_DATA, b"just before".ljust(64, b"\0"))
    kill(before)
    assert (mortal / ENDPOINT_FILE).exists(), "a killed process takes nothing away"
    assert (mortal / LOCK_FILE).exists()
    assert process.status(mortal)["running"] is False
    after = process.up(mortal)
    assert after.pid != before.pid
    assert {"just-before", STAGE.resource_group} <= group_names(after)
    assert put_group(after, token, "just-before").status == 200, "a token of before is good still"
    assert after.vms == before.vms
    with Tpm(open_transport(after.vm("cvm-1").tcti)) as tpm:
        assert tpm.nv_read(USER_DATA).rstrip(b"\0") == b"just before"


def test_a_port_that_somebody_took_meanwhile_is_left_to_them(mortal: Path) -> None:
    before = process.up(mortal)
    kill(before)
    stranger = socket.create_server(("127.0.0.1", before.port))
    stranger.listen()
    answers = threading.Thread(target=_answer_once, args=(stranger,))
    answers.start()
    try:
        after = process.up(mortal)
    finally:
        stranger.close()
        answers.join()
    assert after.port != before.port
    assert STAGE.resource_group in group_names(after)


def _answer_once(server: socket.socket) -> None:
    """Answer as some other program would, long enough to be asked."""
    server.settimeout(1)
    try:
        while True:
            opened, _ = server.accept()
            with opened:
                opened.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    except OSError:
        return


def test_sigterm_is_a_clean_end(mortal: Path) -> None:
    endpoint = process.up(mortal)
    os.kill(endpoint.pid, signal.SIGTERM)
    wait_for(lambda: not (mortal / ENDPOINT_FILE).exists())
    wait_for(lambda: process.running(mortal) is None)
    assert "Traceback" not in (mortal / "sandbox.log").read_text()


@pytest.mark.parametrize("text", ["", "{", '{"port": 1}', "[]", '{"vms": [{}]}'])
def test_an_endpoint_file_that_is_none_is_no_sandbox(tmp_path: Path, text: str) -> None:
    (tmp_path / ENDPOINT_FILE).write_text(text)
    assert read_endpoint(tmp_path) is None
    assert process.running(tmp_path) is None


def test_it_ends_when_nobody_uses_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRKIT_SANDBOX_IDLE_S", "0.5")
    process.up(home)
    wait_for(lambda: not (home / ENDPOINT_FILE).exists())


def test_a_busy_port_is_named(mortal: Path) -> None:
    process.down(mortal)
    with listening() as port, pytest.raises(ServiceError) as refused:
        process.up(mortal, port=port)
    error = refused.value
    assert (error.what, error.where, error.code) == ("sandbox start", str(mortal), "SandboxNotStarted")
    assert "address already in use" in error.found.lower()
    assert error.fix == "Choose another port, or leave --port out."


def test_another_port_than_the_running_ones_is_the_callers_mistake(mortal: Path) -> None:
    endpoint = process.up(mortal)
    with pytest.raises(UsageError) as refused:
        process.up(mortal, port=endpoint.port + 1)
    assert refused.value.found == str(endpoint.port + 1)
    assert refused.value.expected.startswith(str(endpoint.port))
    assert "skrkit sandbox down" in refused.value.fix


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UsageError) as refused:
        process.up(tmp_path / "file" / "home")
    assert refused.value.where == str(tmp_path / "file" / "home")
    assert "SKRKIT_HOME" in refused.value.fix


@pytest.mark.skipif(os.geteuid() == 0, reason="ROOT: no folder is read-only for root. Run as another user.")
def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises((UsageError, ServiceError)) as refused:
            process.up(tmp_path)
    finally:
        tmp_path.chmod(0o700)
    assert str(tmp_path) in str(refused.value)
    assert "denied" in str(refused.value)


def test_state_of_another_version_is_left_alone(home: Path) -> None:
    home.mkdir()
    with sqlite3.connect(home / STATE_FILE) as database:
        database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(ServiceError) as refused:
        process.up(home)
    assert "sandbox state version" in refused.value.found
    assert "expected 1, found 99" in refused.value.found
    assert "skrkit sandbox reset" in refused.value.fix


def test_state_that_is_no_database_is_named(home: Path) -> None:
    home.mkdir()
    (home / STATE_FILE).write_bytes(b"this was a database once " * 100)
    with pytest.raises(ServiceError) as refused:
        process.up(home)
    assert "not a database" in refused.value.found
    assert refused.value.fix.startswith("skrkit sandbox reset --yes")
    assert str(home / STATE_FILE) in refused.value.found


@contextmanager
def largest_file(limit: int) -> Iterator[None]:
    """What is started meanwhile cannot write a file beyond `limit` bytes: a disk that is full at that point."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_from_the_start_is_named(home: Path) -> None:
    home.mkdir()
    with pytest.raises(ServiceError) as refused, largest_file(2048):
        process.up(home)
    assert refused.value.code == "SandboxNotStarted"
    assert "sandbox state" in refused.value.found
    assert "Free some disk space" in refused.value.fix


def test_a_disk_that_fills_up_refuses_and_loses_nothing(home: Path) -> None:
    with largest_file(300_000):
        endpoint = process.up(home)
    token = running.operator_token(endpoint)
    kept: set[str] = set()
    for number in range(400):
        answer = put_group(endpoint, token, f"group-{number}")
        if answer.status != 201:
            break
        kept.add(f"group-{number}")
    assert answer.status == 503, "it never filled up"
    assert answer.json()["error"]["code"] == "StateUnavailable"
    assert "Free some disk space" in answer.json()["error"]["message"]
    assert answer.headers["retry-after"] == "1"
    assert len(kept) > 5
    assert group_names(endpoint) == kept, "it still reads"
    kill(endpoint)
    assert group_names(process.up(home)) == kept


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="Linux alone changes the limits of another process.")
def test_a_disk_that_is_full_before_a_service_is_first_asked_is_named_too(home: Path) -> None:
    """Resource Manager writes the operator's role when it is first asked: that is before it has any answer."""
    endpoint = process.up(home)
    token = running.operator_token(endpoint)
    before = resource.prlimit(endpoint.pid, resource.RLIMIT_FSIZE, (2048, resource.RLIM_INFINITY))
    answer = put_group(endpoint, token, "first")
    assert answer.status == 503
    assert answer.json()["error"]["code"] == "StateUnavailable"
    resource.prlimit(endpoint.pid, resource.RLIMIT_FSIZE, before)
    assert put_group(endpoint, token, "second").status == 201
    assert "Traceback" not in (home / LOG_FILE).read_text()


def test_reset_takes_everything_away(home: Path) -> None:
    before = process.up(home)
    removed = process.reset(home)
    assert process.running(home) is None
    assert STATE_FILE in removed
    assert not home.exists() or not [name for name in home.iterdir() if name.name != LOCK_FILE]
    after = process.up(home)
    assert after.tenant != before.tenant
    assert process.reset(home) != []
