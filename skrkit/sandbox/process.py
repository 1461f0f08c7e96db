"""Start, find and end the sandbox's process, from any shell or kernel. One process per user and state folder."""

from __future__ import annotations

import errno
import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from skrkit.errors import ServiceError, SkrkitError, UsageError
from skrkit.sandbox import chance
from skrkit.sandbox.endpoint import (
    CA_FILE,
    ENDPOINT_FILE,
    LOCK_FILE,
    LOG_FILE,
    MACHINES_FOLDER,
    STATE_FILE,
    Endpoint,
    default_home,
    read_endpoint,
)
from skrkit.sandbox.lock import ProcessLock

ALREADY_RUNNING = 75  # EX_TEMPFAIL: another process holds the lock
START_TIMEOUT_S = 60.0  # twenty at once on two processors needed 20; one that ends is noticed at once
STOP_TIMEOUT_S = 10.0
ASKED_TIMEOUT_S = 30.0
CONTROL_HOST = "sandbox.skrkit"
SECRET_HEADER = "X-Skrkit-Secret"  # noqa: S105 - a header's name


def control(endpoint: Endpoint, method: str, path: str, *, timeout: float = 5.0) -> dict[str, Any] | None:
    """Return the answer of the sandbox's control interface, or None if nobody answers there, or with a refusal."""
    answer = control_answer(endpoint, method, path, timeout=timeout)
    return answer[1] if answer is not None and answer[0] == 200 else None


def control_answer(
    endpoint: Endpoint, method: str, path: str, *, timeout: float = 5.0
) -> tuple[int, dict[str, Any]] | None:
    """Return status and body of the control interface's answer, or None if nobody answers there."""
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=timeout)
    try:
        headers = {"Host": CONTROL_HOST, SECRET_HEADER: endpoint.secret}
        connection.request(method, f"http://{CONTROL_HOST}{path}", headers=headers)
        response = connection.getresponse()
        body = response.read(1 << 20)
        said = json.loads(body)
        return (response.status, said) if isinstance(said, dict) else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def ask_control(method: str, path: str, *, what: str, home: Path | None = None) -> Any:
    """Return what the control interface answers, of a sandbox that is started if it does not run.

    Raises what `asked_of` raises.
    """
    return asked_of(ensure_running(home), method, path, what=what)


def asked_of(endpoint: Endpoint, method: str, path: str, *, what: str) -> Any:
    """Return what the control interface of a sandbox answers.

    Raises `UsageError` for what the sandbox says the caller did wrong, `ServiceError` for no answer or any other.
    """
    answer = control_answer(endpoint, method, path, timeout=ASKED_TIMEOUT_S)
    if answer is not None and answer[0] == 200:
        return answer[1]
    if answer is not None and answer[1].get("error") == "UsageError":
        names = ("what", "where", "expected", "found", "fix")
        raise UsageError(**{name: str(answer[1].get(name, "")) for name in names})
    raise ServiceError(
        what=what,
        where=f"{method} {path.partition('?')[0]}",
        expected="an answer of the sandbox",
        found="none" if answer is None else f"HTTP {answer[0]}",
        fix="skrkit sandbox down   and try again: it may be another version's",
        status=0 if answer is None else answer[0],
    )


def running(home: Path | None = None) -> Endpoint | None:
    """Return the endpoint of the sandbox that runs on this state folder, or None. A stale file is no sandbox."""
    endpoint = read_endpoint(home or default_home())
    if endpoint is None:
        return None
    said = control(endpoint, "GET", "/health")
    return endpoint if said is not None and said.get("ok") is True else None


def ensure_running(home: Path | None = None) -> Endpoint:
    """Return the running sandbox, started if need be. Raises `ServiceError` when it does not start."""
    return up(home)


def up(
    home: Path | None = None, *, port: int | None = None, seed: str | None = None, clock: str | None = None
) -> Endpoint:
    """Return the sandbox after it answers: the one that runs, or a new process. State that is there is kept.

    `port` asks for the outer door's port; without it, the port it had before, or any free one. Two calls at once end
    in one process: the other one finds the lock taken. `seed` and `clock` are what a new sandbox is made with, by
    default SKRKIT_SEED and SKRKIT_CLOCK: see `skrkit.sandbox.chance`. Raises `ServiceError` when it does not start,
    `UsageError` when it runs on another port than asked for, or was made with another seed or clock.
    """
    home = home or default_home()
    wanted = chance.asked(seed, clock)
    found = running(home)
    if found is not None:
        chance.refuse_other(chance.asked(found.seed, found.clock), wanted, str(home))
        if port not in (None, found.port):
            raise UsageError(
                what="--port",
                where="the sandbox",
                expected=f"{found.port}, the port of the sandbox that runs already",
                found=str(port),
                fix="skrkit sandbox down   and then up again with --port",
            )
        return found
    _make_home(home)
    deadline = time.monotonic() + START_TIMEOUT_S
    process = _spawn(home, port, wanted)
    while time.monotonic() < deadline:
        found = running(home)
        if found is not None:
            chance.refuse_other(chance.asked(found.seed, found.clock), wanted, str(home))  # another caller's, perhaps
            return found
        code = process.poll()
        if code == ALREADY_RUNNING:  # somebody else starts one, or one that is ending has not quite ended
            time.sleep(0.1)
            process = _spawn(home, port, wanted)
        elif code is not None:
            break
        time.sleep(0.02)
    raise _not_started(home, process.poll())


def _make_home(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as cause:
        raise _unwritable(home, cause) from cause


def _unwritable(home: Path, cause: OSError) -> SkrkitError:
    full = cause.errno in (errno.ENOSPC, errno.EDQUOT)
    return (ServiceError if full else UsageError)(
        what="sandbox state folder",
        where=str(home),
        expected="a folder that this user can make and write",
        found=str(cause.strerror or cause),
        fix="Set SKRKIT_HOME to a folder of your own, on a disk with room.",
    )


def _spawn(home: Path, port: int | None, wanted: chance.Asked) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "skrkit.sandbox", "--home", str(home)]  # -P: modules are not in `home`
    if port is not None:
        command += ["--port", str(port)]
    command += [f"--seed={wanted.seed or ''}", f"--clock={wanted.clock_text}"]
    detached: dict[str, Any] = {"start_new_session": True, "umask": 0o077}  # its state holds private keys
    if os.name == "nt":
        detached = {"creationflags": getattr(subprocess, "DETACHED_PROCESS", 0) | subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined,unused-ignore]
    # The process writes its own log; what Python says before that (or instead) lands there too.
    try:
        opened = os.open(home / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(opened, "ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home, close_fds=True, **detached
            )
    except OSError as cause:
        raise _unwritable(home, cause) from cause
    # It outlives us, or we outlive it: a kernel that started a sandbox must not keep its zombie.
    threading.Thread(target=process.wait, name="sandbox reaper", daemon=True).start()
    return process


def _not_started(home: Path, code: int | None) -> SkrkitError:
    last, _, said = _last_words(home / LOG_FILE).partition(" Fix: ")  # an error of skrkit's own has its fix with it
    if code == UsageError.exit_code:  # a seed or a clock that its state was not made with
        what, _, rest = last.partition(": expected ")
        expected, _, other = rest.partition(", found ")
        return UsageError(
            what=what.partition(" at ")[0],
            where=str(home),
            expected=expected,
            found=other.removesuffix("."),
            fix=said,
        )
    busy = "address already in use" in last.lower()
    fallback = "Choose another port, or leave --port out." if busy else f"Read {home / LOG_FILE}, then try again."
    return ServiceError(
        what="sandbox start",
        where=str(home),
        expected=f"an answer within {START_TIMEOUT_S:.0f} s",
        found=last or ("nothing" if code is None else f"exit code {code}"),
        fix=said or fallback,
        code="SandboxNotStarted",
    )


def _last_words(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""


def status(home: Path | None = None) -> dict[str, Any]:
    """Return what the sandbox says of itself, or `{"running": False, "home": …}`."""
    home = home or default_home()
    endpoint = running(home)
    if endpoint is None:
        return {"running": False, "home": str(home), "state": (home / STATE_FILE).exists()}
    said = control(endpoint, "GET", "/status") or {}
    return {"running": True, "home": str(home), **said}


def down(home: Path | None = None) -> bool:
    """End the sandbox and return whether one ran. Its state stays. Raises `ServiceError` if it does not end."""
    home = home or default_home()
    endpoint = running(home)
    if endpoint is None:
        return False
    control(endpoint, "POST", "/shutdown")
    # Its end is when the lock is free: by then its ports are, too, and a new one can start.
    lock = _locked(home)
    if lock is not None:
        lock.release()
        return True
    raise ServiceError(
        what="sandbox end",
        where=f"process {endpoint.pid}",
        expected=f"its end within {STOP_TIMEOUT_S:.0f} s",
        found="it still runs",
        fix=f"End process {endpoint.pid}; nothing that was acknowledged is lost.",
    )


def reset(home: Path | None = None) -> list[str]:
    """End the sandbox and remove its state; return what was removed. The next start makes a new tenant."""
    home = home or default_home()
    down(home)
    if not home.is_dir():
        return []
    lock = _locked(home)  # nobody starts a sandbox on a state that is half gone; the lock's file stays for that
    if lock is None:
        raise ServiceError(
            what="sandbox reset",
            where=str(home),
            expected="no sandbox that runs on this state",
            found="one that starts or hangs",
            fix="skrkit sandbox down   and then reset again",
        )
    try:
        return _remove_state(home)
    except OSError as cause:
        raise _unwritable(home, cause) from cause
    finally:
        lock.release()


def _remove_state(home: Path) -> list[str]:
    removed = []
    logs = (LOG_FILE, f"{LOG_FILE}.1")
    for name in (STATE_FILE, f"{STATE_FILE}-wal", f"{STATE_FILE}-shm", ENDPOINT_FILE, CA_FILE, *logs):
        path = home / name
        if path.exists():
            path.unlink()
            removed.append(name)
    if (home / MACHINES_FOLDER).is_dir():
        shutil.rmtree(home / MACHINES_FOLDER)
        removed.append(MACHINES_FOLDER)
    return removed


def _locked(home: Path) -> ProcessLock | None:
    """Return the lock of this state folder, taken, or None if it is not free in time."""
    lock = ProcessLock(home / LOCK_FILE)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    try:
        while not lock.acquire():
            if time.monotonic() > deadline:
                return None
            time.sleep(0.02)
    except OSError as cause:
        raise _unwritable(home, cause) from cause
    return lock
