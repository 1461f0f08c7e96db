"""The world of a notebook: start the sandbox, make what an earlier step should have made, put everything back."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skrkit.artefact import STEP_TITLES, Artefact
from skrkit.errors import ServiceError, UsageError
from skrkit.lab.clock import follow
from skrkit.lab.wording import word_errors
from skrkit.provision.stage import Stage
from skrkit.walkthrough import Walk

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.provision.access import Access
    from skrkit.provision.identity import Identity
    from skrkit.provision.key import ReleasableKey
    from skrkit.release.flow import Attested, Released
    from skrkit.sandbox.endpoint import Endpoint

OLDEST_PYTHON = (3, 11)
SAID_WIDTH = 88
NEEDED = (
    "azure.identity",
    "azure.keyvault.keys",
    "azure.mgmt.compute",
    "azure.mgmt.keyvault",
    "azure.mgmt.resource",
    "cryptography",
    "uvicorn",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the steps so far have made. What a later step would make is None, or empty."""

    cloud: Cloud = field(repr=False)
    stage: Stage
    step: int
    inside: Cloud = field(repr=False)
    identity: Identity | None = field(default=None, repr=False)
    access: Access | None = field(default=None, repr=False)
    keys: Sequence[ReleasableKey] = field(default=(), repr=False)
    attested: Attested | None = field(default=None, repr=False)
    released: Released | None = field(default=None, repr=False)
    artefacts: Sequence[Artefact] = field(default=(), repr=False)

    def artefact(self, name: str) -> Artefact:
        """Return one artefact by step and name, such as "4/hcl-report". Raises `UsageError` listing the names."""
        for artefact in self.artefacts:
            if f"{artefact.step}/{artefact.name}" == name:
                return artefact
        raise UsageError(
            what="artefact",
            where="world.artefact()",
            expected=", ".join(f"{artefact.step}/{artefact.name}" for artefact in self.artefacts) or "a later step",
            found=repr(name),
            fix=f"lab.ensure(step={name[:1]})" if name[:1] in "1234" else "Ask for step/name, as in 4/hcl-report.",
        )


def start() -> Cloud:
    """Return the sandbox, started if it does not run, after a sentence that says what runs.

    A sandbox of another version of skrkit is restarted; its state stays. Raises `UsageError` for an old Python or a
    kernel without the packages, `ServiceError` when the sandbox does not start. Each says what to do.
    """
    word_errors()
    _check_kernel()
    from skrkit import __version__
    from skrkit.sandbox import process

    found = process.running()
    older = "" if found is None or found.version == __version__ else found.version
    if older:
        process.down()
    cloud = sandbox_cloud()
    how = "runs already" if found and not older else "has started"
    said = [f"The sandbox {how}. Tenant {cloud.tenant}."]
    if older:
        said.append(f"It was of skrkit {older}; now it is of {__version__}, and nothing in it is lost.")
    said += _made_with(process.running())
    if not has_widgets():
        said.append("Views stand still, because ipywidgets is not installed: pip install 'skrkit[lab]'")
    say(" ".join(said))
    return cloud


def _made_with(endpoint: Endpoint | None) -> list[str]:
    """Return what there is to say of a sandbox whose keys or clock are not this computer's own."""
    said = []
    if endpoint is not None and endpoint.seed:
        said.append("Its keys come from a seed: it is for lessons alone.")
    if endpoint is not None and endpoint.clock:
        said.append(f"Its clock stands still at {endpoint.clock}.")
    return said


def sandbox_cloud() -> Cloud:
    """Return the sandbox as its operator sees it, whose clock is this kernel's from now on."""
    from skrkit.cloud import Cloud

    try:
        cloud = Cloud.sandbox()
    except ServiceError as error:
        if "sandbox state version" not in error.found:  # the process's last words, which are the store's
            raise
        raise UsageError(
            what="state of the sandbox",
            where=error.where,
            expected="one that this version of skrkit can read",
            found="one that another version wrote",
            fix="lab.reset() begins anew, without the keys and VMs of that state. "
            "To keep them, take the version that wrote it.",
        ) from error
    follow(cloud.now)
    return cloud


def ensure(step: int) -> World:
    """Return the world after `step`, 0 to 4; what is missing is made, and a sentence says what there is now.

    Step 0 is the stage: resource group, vault, confidential VM. Safe to call again, in any order, from any kernel, and
    after an interrupted cell: what is there already is kept.
    """
    if step not in range(5) or isinstance(step, bool):
        raise UsageError(
            what="lab.ensure", where="step", expected="0, 1, 2, 3 or 4", found=repr(step), fix="lab.ensure(step=1)"
        )
    word_errors()
    world = walked(step)
    say(_done(world))
    return world


def walked(step: int) -> World:
    """Return the world after `step`, made in silence."""
    from skrkit.provision.stage import set_stage

    cloud, stage = sandbox_cloud(), Stage()
    walk = Walk(cloud=cloud, stage=stage, steps=tuple(range(1, step + 1)))
    if step:
        walk.run()
    else:
        set_stage(cloud, stage)
    return World(
        cloud=cloud,
        stage=stage,
        step=step,
        inside=cloud.enter(stage.vm, resource_group=stage.resource_group),
        identity=walk.identity,
        access=walk.access,
        keys=walk.keys,
        attested=walk.attested,
        released=walk.released,
        artefacts=tuple(walk.artefacts),
    )


def _done(world: World) -> str:
    """Return what there is now, by name."""
    stage = world.stage
    there = [f"a resource group, the Premium vault {stage.vault}, the confidential VM {stage.vm}"]
    if world.identity is not None:
        there.append(f"the VM's identity {world.identity.object_id}")
    if world.access is not None:
        there.append("its grant to release")
    if world.keys:
        there.append(f"the keys {', '.join(key.name for key in world.keys)}")
    if world.attested is not None:
        there.append("an attestation token")
    if world.released is not None:
        there.append("a released key")
    title = f"Step {world.step} is done ({STEP_TITLES[world.step]})" if world.step else "The stage is set"
    return f"{title}. There is: {'; '.join(there)}."


def reset() -> None:
    """Put the world back: end the sandbox, remove its state, start a new one. Keys and VMs of before are gone."""
    from skrkit.sandbox import process

    word_errors()
    process.reset()
    endpoint = process.ensure_running()
    say(f"A new sandbox runs: no VM, no vault, and a new tenant, {endpoint.tenant}.")


def has_widgets() -> bool:
    """Return whether ipywidgets can be imported."""
    from importlib.util import find_spec

    return find_spec("ipywidgets") is not None


def _check_kernel() -> None:
    """Return nothing if this kernel can run skrkit. Raises `UsageError` for an old Python, or one without packages."""
    if sys.version_info < OLDEST_PYTHON:
        raise _wrong_kernel("Python of this kernel", "3.11 or newer", ".".join(map(str, sys.version_info[:3])))
    missing = [name for name in NEEDED if not _can_import(name)]
    if missing:
        raise _wrong_kernel("packages of this kernel", "what skrkit is installed with", f"no {', '.join(missing)}")


def _can_import(name: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the package above it is not there either
        return False


def _wrong_kernel(what: str, expected: str, found: str) -> UsageError:
    return UsageError(
        what=what,
        where=sys.executable,
        expected=expected,
        found=found,
        fix="Choose the kernel of the environment that skrkit is installed in (Kernel, Change Kernel), "
        "or run in a cell: %pip install 'skrkit[lab]'",
    )


def say(words: str) -> None:
    """Print a sentence or two. JupyterLab would break a long line in the middle of a word."""
    from textwrap import fill

    print(fill(words, width=SAID_WIDTH, break_on_hyphens=False))  # noqa: T201 - what these functions are for
