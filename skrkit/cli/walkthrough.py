"""`skrkit walkthrough`: the four steps, each artefact with what it proves and what the next step needs of it."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skrkit.cli.azure_cloud import add_azure_cloud, azure_of
from skrkit.cli.hsm_option import add_hsm, hsm_of
from skrkit.errors import ServiceError, SkrkitError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection

    from skrkit.artefact import Artefact
    from skrkit.cloud import Cloud
    from skrkit.provision.stage import Stage
    from skrkit.walkthrough import Walk

SHOWN_ROWS = 36  # of one artefact, unless --full
SHOWN_CHARACTERS = 128  # of one value: enough to recognise it, two lines of a terminal
_NEXT = (
    ("skrkit walkthrough --step 4 --pause", "one step, artefact by artefact"),
    ("skrkit walkthrough --full", "nothing cut short"),
    ("skrkit walkthrough --save artefacts", "each artefact in files; skrkit inspect"),
    ("", "explains the .bin, .jwt, .pem, .txt ones"),
)
RBAC_VAULT = "skrkit-roles"
_STAGE_OPTIONS = ("resource_group", "location", "vm", "vault", "key", "attestation")
_IDENTITY_OPTIONS = ("identity", "user_identity", "identity_by")


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "walkthrough",
        help="run secure key release and show every artefact on the way",
        description="Run the four steps of secure key release and show every artefact on the way.",
    )
    parser.add_argument("--cloud", choices=("sandbox", "azure"), default="sandbox", help="the world (default: sandbox)")
    add_azure_cloud(parser)
    parser.add_argument(
        "--remote",
        action="store_true",
        help="take step 4 in the VM from here, by run command, and bring back what it makes",
    )
    parser.add_argument("--step", type=int, choices=(1, 2, 3, 4), help="show this step only")
    parser.add_argument("--full", action="store_true", help="show long artefacts whole (default: their first lines)")
    parser.add_argument("--pause", action="store_true", help="wait for Enter after each artefact")
    parser.add_argument("--save", metavar="DIR", type=Path, help="write each artefact to its own file, with an index")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead")
    parser.add_argument("--yes", action="store_true", help="Azure: do what the plan says")
    parser.add_argument("--rbac", action="store_true", help="grant by Azure roles; the vault must go by them")
    names = parser.add_argument_group("names", "In Azure these are yours; the sandbox has its own.")
    for option in _STAGE_OPTIONS:
        names.add_argument(f"--{option.replace('_', '-')}", metavar="NAME")
    add_hsm(names)
    identity = parser.add_argument_group("identity", "What step 1 gives the VM, and how step 4 asks for it.")
    identity.add_argument(
        "--identity",
        choices=("system", "user", "both"),
        help="system-assigned, user-assigned, or both (default: system)",
    )
    identity.add_argument(
        "--user-identity", metavar="NAME", help="the user-assigned one, or its resource id; made if new"
    )
    identity.add_argument(
        "--identity-by",
        choices=("client-id", "object-id", "resource-id"),
        help="how IMDS is asked for the user-assigned one (default: resource-id)",
    )
    names.add_argument("--subscription", metavar="ID", help="default: AZURE_SUBSCRIPTION_ID")
    names.add_argument("--tenant", metavar="ID", help="default: AZURE_TENANT_ID")
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the walkthrough and return the exit code: 0, or an error's own."""
    stage = _stage(arguments)
    steps: Collection[int] = (arguments.step,) if arguments.step else (1, 2, 3, 4)
    if arguments.cloud == "azure":
        return _azure(arguments, stage, steps)
    show = _Screen(quiet=arguments.json, pause=arguments.pause, full=arguments.full)
    with show.doing("Starting the sandbox"):
        from skrkit.cloud import Cloud

        cloud = Cloud.sandbox()
    try:
        return _walk(arguments, _new_walk(cloud, stage, steps, show, remote=arguments.remote), show)
    except SkrkitError as error:
        raise _sandbox_ended(error) or error from error


def _sandbox_ended(error: SkrkitError) -> SkrkitError | None:
    """Return an error that says the sandbox is no longer there, if so: whatever a step said then comes of it."""
    from skrkit.sandbox.process import running

    if running() is not None:
        return None
    return ServiceError(
        what="the sandbox",
        where=f"{error.what}, {error.where}",
        expected="a sandbox that runs until the walk is done",
        found=f"it ended in the middle: {error.found}",
        fix="Run the same command again: what was acknowledged is kept, and it goes on from there.",
        code="SandboxEnded",
    )


def _stage(arguments: argparse.Namespace) -> Stage:
    from skrkit.provision.stage import Stage

    options = (*_STAGE_OPTIONS, *_IDENTITY_OPTIONS)
    given = {option: getattr(arguments, option) for option in options if getattr(arguments, option, None)}
    if arguments.rbac and not arguments.vault and arguments.cloud == "sandbox":
        given["vault"] = RBAC_VAULT  # the other one goes by access policies, which the notebooks tell of
    if arguments.hsm is not None:
        given["hsm"] = hsm_of(arguments)
    if "key" in given:
        given |= {"ec_key": f"{given['key']}-ec", "platform_key": f"{given['key']}-platform"}
        given["oct_key"] = f"{given['key']}-oct"
    return Stage(**given, rbac=arguments.rbac)


def _azure(arguments: argparse.Namespace, stage: Stage, steps: Collection[int]) -> int:
    from skrkit.provision.plan import check_azure_names, plan_of

    check_azure_names(arguments)
    plan = plan_of(stage, steps, remote=arguments.remote)
    if not arguments.yes:
        _print_plan(plan, as_json=arguments.json, as_operator=arguments.remote or tuple(steps) != (4,))
        return 0
    cloud = azure_of(arguments)
    show = _Screen(quiet=arguments.json, pause=arguments.pause, full=arguments.full)
    return _walk(arguments, _new_walk(cloud, stage, steps, show, remote=arguments.remote), show)


def _print_plan(plan: list[str], *, as_json: bool, as_operator: bool) -> None:
    if as_json:
        import json

        print(json.dumps({"plan": plan, "done": False}, indent=2))
        return
    print("This would be done in Azure:\n")
    for line in plan:
        print(f"  • {line}")
    if as_operator:
        print("\nSteps 1 to 3 act as you: by the environment or az login. Inside a VM set AZURE_TOKEN_CREDENTIALS=dev,")
        print("or azure-identity takes the VM's own identity, which may do none of this.")
    print("\nNothing was done. Add --yes to do it.")


def _new_walk(cloud: Cloud, stage: Stage, steps: Collection[int], show: _Screen, *, remote: bool) -> Walk:
    from skrkit.walkthrough import Walk

    if remote:
        from skrkit.remote.outside import release_remotely
    # Who walks may be a principal that could set no stage: that is not what its walk is about.
    stagehand = type(cloud).sandbox(as_operator=True) if cloud.world == "sandbox" else None
    return Walk(
        cloud=cloud,
        stage=stage,
        steps=steps,
        show=show.artefact,
        doing=show.doing,
        stagehand=stagehand,
        remote=release_remotely if remote else None,
    )


def _walk(arguments: argparse.Namespace, walk: Walk, show: _Screen) -> int:
    _quieten()
    try:
        artefacts = walk.run()
    except SkrkitError as error:
        _say_how_to_explain(arguments, error)
        raise
    finally:  # of a walk that failed as well: that is when they are wanted most
        if arguments.save and walk.artefacts:
            from skrkit.cli.saved import save

            index = save(walk.artefacts, arguments.save)
            print(f"Saved {len(walk.artefacts)} artefacts; {index} lists them.", file=sys.stderr)
    if arguments.json:
        import json

        document = {"cloud": walk.cloud.world, "artefacts": [artefact.to_json() for artefact in artefacts]}
        print(json.dumps(document, indent=2))
    else:
        show.end(len(artefacts), walk.steps)
    return 0


def _say_how_to_explain(arguments: argparse.Namespace, error: SkrkitError) -> None:
    """Keep the error beside the artefacts, and say on stderr what names its cause."""
    command = "skrkit explain --live" + (" --cloud azure …" if arguments.cloud == "azure" else "")
    if arguments.hsm is not None:
        command += f" --hsm {arguments.hsm}".rstrip()
    if arguments.save:
        import json

        from skrkit.cli.saved import write_file

        file = arguments.save / "error.json"
        arguments.save.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(file, json.dumps(error.to_json(), indent=2).encode())
        command += f", or what was saved of it: skrkit explain {file}"
    if not isinstance(error, UsageError):  # that one is the caller's own, and says enough
        print(f"The walk ended early. Its cause by name: {command}", file=sys.stderr)


def _quieten() -> None:
    """Keep the SDKs' own warnings off stderr: what they warn of is raised too, and worded then."""
    import logging

    for name in ("azure", "msal"):
        logging.getLogger(name).addHandler(logging.NullHandler())


class _Screen:
    """The terminal: artefacts on stdout as they are made, talk and a spinner on stderr."""

    def __init__(self, *, quiet: bool, pause: bool, full: bool) -> None:
        import logging

        from rich.console import Console

        class Screen(Console):
            def on_broken_pipe(self) -> None:
                raise BrokenPipeError  # rich would end the program here, as a failure; `main` knows better

        for library in ("azure", "msal"):  # their warnings come back as an error's `found`; once is enough
            logging.getLogger(library).addHandler(logging.NullHandler())
        self._out = Screen(highlight=False, soft_wrap=False)
        self._talk = Screen(stderr=True, highlight=False)
        self._quiet = quiet
        self._full = full
        self._pause = pause and not quiet and sys.stdin.isatty()
        self._step = 0
        self._status: Any = None

    def doing(self, what: str) -> AbstractContextManager[object]:
        """Return a spinner beside `what` for as long as it lasts; nothing where stderr is no terminal."""
        if not self._talk.is_terminal:
            return nullcontext()
        self._status = self._talk.status(f"{what} …")
        status: AbstractContextManager[object] = self._status
        return status

    def artefact(self, artefact: Artefact) -> None:
        """Print one artefact, after the title of its step where a new one begins."""
        if self._quiet:
            return
        from skrkit.artefact import STEP_TITLES
        from skrkit.render.terminal import show
        from skrkit.render.view import shortened, view_of_artefact

        if artefact.step != self._step:
            self._step = artefact.step
            self._out.rule(f"Step {artefact.step} of 4: {STEP_TITLES[artefact.step]}", align="left")
            self._out.print()
        view = view_of_artefact(artefact)
        if not self._full:
            view = shortened(view, rows=SHOWN_ROWS, characters=SHOWN_CHARACTERS, keep=artefact.points_at)
        show(view, self._out)
        self._out.print()
        if self._pause:
            self._wait()

    def _wait(self) -> None:
        if self._status is not None:
            self._status.stop()
        try:
            self._talk.input("  Enter to go on … ")
        except EOFError:  # Ctrl-D: no more pauses
            self._pause = False

    def end(self, count: int, steps: Collection[int]) -> None:
        """Print the last word."""
        if 4 in steps:
            self._out.print(
                f"{count} artefacts. A key was released to an attested VM, unwrapped in its vTPM, and put to use."
            )
        else:
            self._out.print(f"{count} artefacts.")
        self._out.print()
        for command, what in _NEXT:
            self._out.print(f"  {command:36} {what}")
