"""The world of a notebook: start the sandbox, make what an earlier step should have made, put everything back."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skrkit.artefact import STEP_TITLES, Artefact
from skrkit.errors import UsageError
from skrkit.provision.stage import Stage
from skrkit.walkthrough import Walk

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.provision.access import Access
    from skrkit.provision.identity import Identity
    from skrkit.provision.key import ReleasableKey
    from skrkit.release.flow import Attested, Released

OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the steps so far have made. What a later step would make is None, or empty."""

    cloud: Cloud
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
    """Return the sandbox, started if it does not run, after one line that says where everything is.

    Raises `UsageError` for an old Python, `ServiceError` when the sandbox does not start; both say what to do.
    """
    from skrkit.cloud import Cloud

    if sys.version_info < OLDEST_PYTHON:
        raise UsageError(
            what="Python of this kernel",
            where=sys.executable,
            expected="3.11 or newer",
            found=".".join(map(str, sys.version_info[:3])),
            fix="Choose the kernel of the environment that skrkit is installed in: Kernel, Change Kernel.",
        )
    began = time.perf_counter()
    cloud = Cloud.sandbox()
    print(f"The sandbox runs ({time.perf_counter() - began:.1f} s). Tenant {cloud.tenant}.")  # noqa: T201 - to the cell
    if not _has_widgets():
        print("ipywidgets is not installed: views stand still. pip install 'skrkit[lab]'")  # noqa: T201
    return cloud


def _has_widgets() -> bool:
    from importlib.util import find_spec

    return find_spec("ipywidgets") is not None


def ensure(step: int) -> World:
    """Return the world after `step`, 0 to 4; what is missing is made, and one line says what that was.

    Step 0 is the stage: resource group, vault, confidential VM. Safe to call again, in any order, from any kernel.
    """
    if step not in range(5):
        raise UsageError(
            what="lab.ensure", where="step", expected="0, 1, 2, 3 or 4", found=repr(step), fix="lab.ensure(step=1)"
        )
    from skrkit.cloud import Cloud
    from skrkit.provision.stage import set_stage

    cloud, stage = Cloud.sandbox(), Stage()
    set_stage(cloud, stage)
    walk = Walk(cloud=cloud, stage=stage, steps=tuple(range(1, step + 1)))
    if step:
        walk.run()
    print(_done(step))  # noqa: T201 - to the cell
    return World(
        cloud=cloud,
        stage=stage,
        step=step,
        inside=cloud.enter(stage.vm),
        identity=walk.identity,
        access=walk.access,
        keys=walk.keys,
        attested=walk.attested,
        released=walk.released,
        artefacts=tuple(walk.artefacts),
    )


def _done(step: int) -> str:
    if step == 0:
        return "The stage is set: a resource group, a Premium vault, a confidential VM."
    return f"Done up to step {step}: {STEP_TITLES[step]}."


def reset() -> None:
    """Put the world back: end the sandbox, remove its state, start a new one. Keys and VMs of before are gone."""
    from skrkit.sandbox import process

    process.reset()
    process.ensure_running()
    print("A new sandbox runs: a new tenant, no VM, no vault.")  # noqa: T201 - to the cell
