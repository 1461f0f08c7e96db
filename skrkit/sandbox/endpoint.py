"""Where a running sandbox is: the endpoint file that it writes and everybody else reads. No heavy imports."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skrkit.errors import UsageError

ENDPOINT_FILE = "endpoint.json"
CA_FILE = "ca.pem"
LOG_FILE = "sandbox.log"
LOCK_FILE = "sandbox.lock"
STATE_FILE = "state.db"
MACHINES_FOLDER = "machines"
HOME_VARIABLE = "SKRKIT_HOME"


@dataclass(frozen=True, slots=True, kw_only=True)
class VmDoor:
    """The door of one VM: its proxy port, its vTPM's port (control is the next one), its boot event log's file."""

    name: str
    resource_id: str
    proxy_port: int
    tpm_port: int
    event_log: str

    @property
    def tcti(self) -> str:
        """What TPM2TOOLS_TCTI takes, and `skrkit.tpm.open_transport`."""
        return f"swtpm:host=127.0.0.1,port={self.tpm_port}"

    @property
    def with_group(self) -> str:
        """Resource group and name, "group/name": there may be a VM of this name in another group too."""
        return f"{self.resource_id.split('/')[4]}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A running sandbox. `secret` opens its control interface and is shown to nobody.

    `seed` and `clock` (RFC 3339) are what it was made with, "" where it has neither.
    """

    home: Path
    pid: int
    port: int
    version: str
    started: str
    tenant: str
    subscription: str
    client_id: str
    operator_oid: str
    secret: str = field(repr=False)
    client_secret: str = field(repr=False)
    vms: tuple[VmDoor, ...] = ()
    seed: str = ""
    clock: str = ""

    @property
    def proxy_url(self) -> str:
        """The outer door, as a proxy URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> Path:
        """The PEM file of the sandbox's root."""
        return self.home / CA_FILE

    def vm(self, name: str) -> VmDoor:
        """Return the door of the VM of this name, or of "group/name" or a resource id.

        Raises `UsageError` listing the VMs there are, and for a name alone that several have.
        """
        wanted = name.lower()
        found = [door for door in self.vms if wanted in (door.name.lower(), door.with_group.lower(), door.resource_id)]
        if len(found) == 1:
            return found[0]
        fix = "Run `skrkit walkthrough` to make cvm-1, or make a VM through Resource Manager."
        if found:
            group = found[0].with_group.partition("/")[0]
            fix = (
                f"Name its resource group too: --vm {found[0].with_group} of `skrkit sandbox`, --resource-group {group}"
            )
        raise UsageError(
            what="--vm",
            where="the sandbox",
            expected=", ".join(map(self.called, self.vms)) or "a VM, of which there is none yet",
            found=f"{name}, of which there are {len(found)}" if found else name,
            fix=fix,
        )

    def called(self, door: VmDoor) -> str:
        """Return what a VM is called among those here: its name, or "group/name" where others have the name too."""
        alone = [each.name.lower() for each in self.vms].count(door.name.lower()) == 1
        return door.name if alone else door.with_group

    def document(self) -> dict[str, Any]:
        """Return the endpoint file's JSON. It holds secrets: the file is for its owner alone."""
        return {
            **{name: getattr(self, name) for name in (*_TEXTS, *_MADE_WITH)},
            "pid": self.pid,
            "port": self.port,
            "vms": [{name: getattr(door, name) for name in VmDoor.__slots__} for door in self.vms],
        }


_MADE_WITH = ("seed", "clock")
_TEXTS = ("version", "started", "tenant", "subscription", "client_id", "operator_oid", "secret", "client_secret")


def default_home() -> Path:
    """Return the state folder: SKRKIT_HOME, or this platform's place for a program's state."""
    given = os.environ.get(HOME_VARIABLE)
    if given:
        return Path(given).expanduser().resolve()
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "skrkit" / "sandbox"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "skrkit" / "sandbox"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "skrkit" / "sandbox"


def read_endpoint(home: Path) -> Endpoint | None:
    """Return the endpoint that the file in `home` names, or None without one. It may be of a process long gone."""
    try:
        document = json.loads((home / ENDPOINT_FILE).read_text(encoding="utf-8"))
        doors = tuple(VmDoor(**door) for door in document["vms"])
        texts = {name: str(document[name]) for name in _TEXTS}
        texts |= {name: str(document.get(name, "")) for name in _MADE_WITH}  # a version before them wrote none
        return Endpoint(home=home, pid=int(document["pid"]), port=int(document["port"]), vms=doors, **texts)
    except (OSError, ValueError, KeyError, TypeError):  # absent, half-written by a full disk, or of another version
        return None


def write_endpoint(endpoint: Endpoint) -> None:
    """Write the endpoint file, whole or not at all, readable by its owner alone."""
    path = endpoint.home / ENDPOINT_FILE
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(endpoint.document(), file, indent=1)
    fresh.replace(path)
