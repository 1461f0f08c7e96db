"""The near end: gives the VM skrkit if it has it not, has it take step 4, and brings the artefacts back."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skrkit.errors import ServiceError, UsageError
from skrkit.run_command.answer import MAX_SLICES, Slice, parse_slice, unpacked
from skrkit.run_command.order import ABSENT, MAX_SCRIPT_BYTES, Order, script_of

if TYPE_CHECKING:
    from azure.mgmt.compute import ComputeManagementClient

    from skrkit.artefact import Artefact
    from skrkit.cloud import IdentityChoice
    from skrkit.services.run_command import Output
    from skrkit.walkthrough import Walk
    from skrkit.wire import Json

# Of the wheel in one script: base64 makes four bytes of three, and the script has words of its own.
PIECE_BYTES = MAX_SCRIPT_BYTES * 3 // 4 - 1536
_INSTALLED, _NO_PYTHON = "skrkit-installed", "skrkit-no-python"


def release_remotely(walk: Walk, choice: IdentityChoice | None) -> Iterator[Artefact]:
    """Yield the artefacts that the VM's step 4 made, parsed again here. Needs Virtual Machine Contributor on the VM.

    Raises `ServiceError` when Resource Manager refuses or the VM answers something else, `ParseError` when what
    comes back is not whole, and after the artefacts the error that ended the walk in the VM, if one did.
    """
    from skrkit.remote.carrying import parse_carried
    from skrkit.services import arm

    with arm.compute(walk.cloud) as compute:
        answer = _Conversation(walk=walk, compute=compute).answer_to(choice)
    artefacts, error = parse_carried(answer)
    yield from artefacts
    if error is not None:
        raise error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Conversation:
    """Orders to one VM, one after the other: run command takes no second script while one runs."""

    walk: Walk
    compute: ComputeManagementClient

    def answer_to(self, choice: IdentityChoice | None) -> bytes:
        """Return the answer to the order to take step 4, whole."""
        from skrkit.remote.names import errand_of

        walk = self.walk
        members = errand_of(walk.cloud, walk.stage, choice, walk.steps).members()
        with walk.doing(f"Step 4 in {walk.stage.vm}, by run command"):
            output = self._give("release", members)
        if output.stdout.strip() == ABSENT:
            self._install()
            with walk.doing(f"Step 4 in {walk.stage.vm}, by run command"):
                output = self._give("release", members)
        first = self._slice(output)
        slices = [first]
        for number in range(1, min(first.count, MAX_SLICES)):
            with walk.doing(f"Bringing the artefacts back: {number + 1} of {first.count}"):
                slices.append(self._slice(self._give("answer", {"slice": number, "sha256": first.sha256})))
        return unpacked(slices)

    def _install(self) -> None:
        """Give the VM this skrkit: its wheel in pieces, then an environment of its own for it."""
        from skrkit.remote.package import this_package

        package, doing = this_package(), self.walk.doing
        pieces = package.pieces(PIECE_BYTES)
        for number, piece in enumerate(pieces):
            text, sha256 = base64.b64encode(piece).decode("ascii"), hashlib.sha256(piece).hexdigest()
            with doing(f"Carrying skrkit into {self.walk.stage.vm}: {number + 1} of {len(pieces)}"):
                output = self._give("piece", {"number": number, "sha256": sha256, "text": text})
            if output.stdout.strip() != f"skrkit-piece {number}":
                raise self._strange(output, f"piece {number} of skrkit, with the digest that it had here")
        with doing(f"Installing skrkit in {self.walk.stage.vm}"):
            members: dict[str, Json] = {"pieces": len(pieces), "sha256": package.sha256, "wheel": package.name}
            output = self._give("install", members)
        said = output.stdout.strip()
        if said == _NO_PYTHON:
            raise self._no_python()
        if said != _INSTALLED:
            raise self._strange(output, "skrkit with its dependencies, from the VM's own package index")

    def _give(self, do: str, members: dict[str, Json]) -> Output:
        from skrkit.remote.package import this_package
        from skrkit.services.run_command import run_script

        stage = self.walk.stage
        order = Order(do=do, build=this_package().build, members=members)  # type: ignore[arg-type]
        return run_script(self.compute, resource_group=stage.resource_group, vm=stage.vm, script=script_of(order))

    def _slice(self, output: Output) -> Slice:
        found = parse_slice(output.stdout)
        if found is None:
            raise self._strange(output, "a slice of the answer")
        return found

    def _no_python(self) -> UsageError:
        stage = self.walk.stage
        return UsageError(
            what=f"Python in VM {stage.vm}",
            where="run command",
            expected="3.11 or later, with venv",
            found="none, and none that apt-get could install",
            fix=f"Install one: az vm run-command invoke --resource-group {stage.resource_group} --name {stage.vm} "
            '--command-id RunShellScript --scripts "apt-get install -y python3.11-venv"',
        )

    def _strange(self, output: Output, expected: str) -> ServiceError:
        lines = [line for line in (output.stderr.splitlines() or output.stdout.splitlines()) if line.strip()]
        return ServiceError(
            what=f"run command in VM {self.walk.stage.vm}",
            where="what the script wrote",
            expected=expected,
            found=lines[-1].strip()[:300] if lines else "nothing",
            fix="Run it in the VM itself: copy skrkit there, and skrkit walkthrough --cloud azure --step 4 as root. "
            "Its needs for --remote: Linux, Python 3.11, a way to a Python package index.",
            code="RunCommandAnswer",
        )
