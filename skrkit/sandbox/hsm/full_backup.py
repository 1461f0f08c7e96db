"""Full backup of a Managed HSM, its restore, and the restore of one key: long-running jobs, and who asks for them.

A job is done when its first answer, "InProgress", goes out; the next question about it gets the end. The form of the
answers, and what they say of a success, are as in recordings of Azure's own clients; what a job that failed says is
inferred but for "ResourceNotFound". The 30 minutes that Microsoft's page asks for between a backup and a restore are
not waited for: in recordings Azure restores seconds after a backup.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.responses import JSONResponse, Response

from skrkit.sandbox import chance
from skrkit.sandbox.hsm import content
from skrkit.sandbox.hsm.container import Container, Refused, check_access, container_of, folder_of, read, write
from skrkit.sandbox.hsm.resource import JOB_KIND, HsmResource
from skrkit.sandbox.store import Document
from skrkit.sandbox.vault.call import Call
from skrkit.sandbox.web import AzureError

BACKUP, RESTORE = "backup", "restore"
_WRITES, _READS = "crdw", "rl"  # what Microsoft's page asks of a SAS token
_RETRY_AFTER_S = "1"


def _hsm(call: Call) -> HsmResource:
    assert isinstance(call.vault, HsmResource)
    return call.vault


def start_backup(call: Call) -> Response:
    """Return 202 with a job that put everything of the HSM into a new folder of a container."""
    container = container_of(call.body)

    def work() -> Document:
        _check(call, container, _WRITES)
        folder = _folder_name(_hsm(call).name, call.world.now())
        write(call.world, container, folder, content.sealed(call.world, _hsm(call)))
        return {"azureStorageBlobContainerUri": f"{container.url}/{folder}"}

    return _job(call, BACKUP, work)


def _folder_name(name: str, now: datetime) -> str:
    return f"mhsm-{name}-{now:%Y%m%d%H%M%S}{now.microsecond // 10_000:02}"


def check_backup(call: Call) -> Response:
    """Return 202 with a job that says whether a backup into a container could be made."""
    container = container_of(call.body)

    def work() -> Document:
        _check(call, container, _WRITES)
        return {}

    return _job(call, BACKUP, work)


def start_restore(call: Call) -> Response:
    """Return 202 with a job that made the HSM what it was at a backup: all keys and local roles since are gone."""
    container, folder = container_of(call.body.get("sasTokenParameters")), folder_of(call.body.get("folderToRestore"))

    def work() -> Document:
        blob = _found(call, container, folder)
        with call.world.store.transaction():
            content.restore(call.world, _hsm(call), blob)
        return {}

    return _job(call, RESTORE, work)


def check_restore(call: Call) -> Response:
    """Return 202 with a job that says whether a backup could be restored here."""
    container, folder = container_of(call.body.get("sasTokenParameters")), folder_of(call.body.get("folderToRestore"))

    def work() -> Document:
        content.opened(_hsm(call), _found(call, container, folder))
        return {}

    return _job(call, RESTORE, work)


def start_key_restore(call: Call) -> Response:
    """Return 202 with a job that brought one key back, with those of its versions that are not there."""
    container, folder = container_of(call.body.get("sasTokenParameters")), folder_of(call.body.get("folder"))

    def work() -> Document:
        _check(call, container, _READS)
        blob = read(call.world, container, folder)
        with call.world.store.transaction():
            written, kept = content.restore_key(call.world, _hsm(call), blob, call.name)
        return {
            "statusDetails": f"Number of successful key versions restored: {written}, "
            f"Number of key versions could not overwrite: {kept}"
        }

    return _job(call, RESTORE, work)


def _found(call: Call, container: Container, folder: str) -> Document:
    """Return a backup for a full restore, which an HSM takes that was backed up itself at least once."""
    _check(call, container, _READS)
    if not any(job["kind"] == BACKUP and job.get("folder") for job in _jobs(call)):
        raise Refused("BackupRequired")  # (inferred)
    return read(call.world, container, folder)


def _check(call: Call, container: Container, permissions: str) -> None:
    identity = call.vault.body.get("identity") or {}
    has = bool(identity.get("userAssignedIdentities"))
    check_access(container, permissions, now=call.world.now(), identity=has)


# --- jobs


def _job(call: Call, kind: str, work: Callable[[], Document]) -> Response:
    job_id = chance.token_bytes("hsm/job", 16).hex()
    started = int(call.world.now().timestamp())
    members: Document = {"status": "InProgress", "statusDetails": None, "error": None, "startTime": started}
    members |= {"endTime": None, "jobId": job_id}
    if kind == BACKUP:
        members["azureStorageBlobContainerUri"] = None
    with call.lock:
        try:
            done: dict[str, Any] = {"status": "Succeeded", **work()}
        except (Refused, content.NotRestored) as refused:
            error = {"code": str(refused), "message": _MESSAGES[str(refused)], "innererror": None}
            done = {"status": "Failed", "statusDetails": str(refused), "error": error}
        ended = members | {"endTime": int(call.world.now().timestamp())} | done
        folder = bool(ended.get("azureStorageBlobContainerUri"))
        record = {"kind": kind, "folder": folder, "shown": ended}
        call.world.store.put(JOB_KIND, f"{_hsm(call).name}/{job_id}", record)
    headers = {"Azure-AsyncOperation": f"{call.vault.url}/{kind}/{job_id}/pending", "Retry-After": _RETRY_AFTER_S}
    return JSONResponse(members, 202, headers=headers)


# All inferred.
_MESSAGES = {
    "ResourceNotFound": "The container or the folder was not found, or the SAS token is none",
    "AuthenticationFailed": "The SAS token is not valid now",
    "AuthorizationPermissionMismatch": "The SAS token does not have every permission that this takes",
    "ManagedIdentityNotFound": "The Managed HSM has no user-assigned managed identity",
    "BackupRequired": "A full backup of this Managed HSM must have been made before a restore",
    "SecurityDomainMismatch": "The backup is of another security domain, or damaged",
    "KeyNotFound": "The backup has no key of this name",
    "KeyDeleted": "The key is deleted but recoverable: recover or purge it first",
}


def _jobs(call: Call) -> list[Document]:
    return [job for _, job in call.world.store.list(JOB_KIND, f"{_hsm(call).name}/")]


def status(kind: str) -> Callable[[Call], Response]:
    """Return what answers how a job of a kind goes. Raises 404 for a job that was never begun."""

    def answer(call: Call) -> Response:
        job = call.world.store.get(JOB_KIND, f"{_hsm(call).name}/{call.path['job'].lower()}")
        if job is None or job["kind"] != kind:
            raise AzureError(404, "JobNotFound", f"The job '{call.path['job']}' was not found")  # (inferred)
        return JSONResponse(job["shown"])

    return answer


# method, path, the data action that a local role must cover (of the checks and of one key's restore inferred), handler
ROUTES = (
    ("POST", "/backup", "backup/start/action", start_backup),
    ("POST", "/prebackup", "backup/start/action", check_backup),
    ("GET", "/backup/{job}/pending", "backup/status/action", status(BACKUP)),
    ("PUT", "/restore", "restore/start/action", start_restore),
    ("PUT", "/prerestore", "restore/start/action", check_restore),
    ("PUT", "/keys/{name}/restore", "restore/start/action", start_key_restore),
    ("GET", "/restore/{job}/pending", "restore/status/action", status(RESTORE)),
)
