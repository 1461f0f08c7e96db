"""`skrkit bundle`: put all that is known of one attempt into one file; show, verify and replay such a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skrkit.cli.azure_cloud import add_azure_cloud, azure_of
from skrkit.cli.hsm_option import add_hsm, check_named, hsm_of
from skrkit.cli.reading import read_input
from skrkit.errors import UsageError, VerificationError

if TYPE_CHECKING:
    import argparse

    from skrkit.bundle.bundle import Bundle
    from skrkit.diagnosis.case import Case
    from skrkit.render.view import View
    from skrkit.wire import Json

_STAGE_OPTIONS = ("resource_group", "location", "vm", "vault", "key", "attestation", "user_identity")


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command group to the command line."""
    parser = commands.add_parser("bundle", help="one file with all the evidence: create, show, verify, replay")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = actions.add_parser(name, help=text.partition(".")[0], description=text)
        made.set_defaults(func=run)
        return made

    _add_create(
        action(
            "create",
            _create,
            "Gather everything about one attempt into one file. Secrets never go in; identifiers become pseudonyms; "
            "raw evidence stays as it is, and what it gives away is said. The walk releases the key to this VM if it "
            "may, and does not keep it. Exit code 0: written, whatever the release said.",
        )
    )
    show = action("show", _show, "Say what is in a bundle, and what was recorded.")
    verify = action(
        "verify",
        _verify,
        "Hold every file against the manifest, and the evidence against AMD's roots at the time of capture. Exit code "
        "0: intact and verified. 3: no bundle. 4: changed, not verified, or no evidence in it (then 0 with --partial).",
    )
    verify.add_argument("--partial", action="store_true", help="exit 0 if nothing failed but steps were not checked")
    replay = action(
        "replay",
        _replay,
        "Make every check and every explanation again, offline and for the time of capture, and compare with what was "
        "recorded. Exit code 0: as recorded. 4: something comes out otherwise.",
    )
    for each in (show, verify, replay):
        each.add_argument("file", metavar="FILE", help="the bundle, or - for standard input")
        each.add_argument("--json", action="store_true", help="print one JSON document")


def _add_create(create: argparse.ArgumentParser) -> None:
    create.add_argument("-o", "--output", metavar="FILE", type=Path, help="default: skrkit-bundle-<time>.zip")
    create.add_argument("--cloud", choices=("sandbox", "azure"), default="sandbox", help="the world (default: sandbox)")
    add_azure_cloud(create)
    create.add_argument("--from-case", metavar="CASE", help="a case that was saved, instead of a live one")
    create.add_argument("--no-release", action="store_true", help="attest only; do not ask the vault for the key")
    create.add_argument("--with-identifiers", action="store_true", help="keep names, ids and addresses as they are")
    create.add_argument("--without-evidence", action="store_true", help="leave the raw evidence out")
    create.add_argument("--with-token", action="store_true", help="put the signed token in: it is good for eight hours")
    create.add_argument("--json", action="store_true", help="print one JSON document")
    names = create.add_argument_group("names", "In Azure these are yours; the sandbox has its own.")
    for option in _STAGE_OPTIONS:
        names.add_argument(f"--{option.replace('_', '-')}", metavar="NAME")
    add_hsm(names)
    names.add_argument("--subscription", metavar="ID", help="default: AZURE_SUBSCRIPTION_ID")
    names.add_argument("--tenant", metavar="ID", help="default: AZURE_TENANT_ID")


def _create(arguments: argparse.Namespace) -> int:
    """Return 0 once the bundle is written; where it is and what it shows stands on stdout."""
    from datetime import UTC, datetime

    from skrkit import __version__
    from skrkit.bundle.bundle import open_bundle
    from skrkit.bundle.making import Choice, make_bundle
    from skrkit.bundle.versions import versions

    choice = Choice(
        with_identifiers=arguments.with_identifiers,
        with_evidence=not arguments.without_evidence,
        with_token=arguments.with_token,
    )
    case, doctor = _saved_case(arguments.from_case) if arguments.from_case else _live_case(arguments)
    now = datetime.now(UTC)
    data = make_bundle(case, now=now, skrkit=__version__, versions=versions(), doctor=doctor, choice=choice)
    path = arguments.output or Path(f"skrkit-bundle-{now:%Y%m%d-%H%M%S}.zip")
    bundle = open_bundle(data)  # what was written can be read: said before anybody relies on it
    _write(path, data)
    if arguments.json:
        _print({"bundle": str(path), **_document(bundle)})
    else:
        _draw(_written(path, bundle))
    return 0


def _live_case(arguments: argparse.Namespace) -> tuple[Case, dict[str, Json]]:
    from skrkit.bundle.live import doctor_report
    from skrkit.cloud import Cloud
    from skrkit.doctor.gather import gather_case
    from skrkit.provision.stage import Stage

    given = {option: getattr(arguments, option) for option in _STAGE_OPTIONS if getattr(arguments, option)}
    if "user_identity" in given:
        given["identity"] = "user"
    stage = Stage(**given, hsm=hsm_of(arguments))
    if arguments.cloud == "azure":
        check_named(arguments)
    cloud = azure_of(arguments) if arguments.cloud == "azure" else Cloud.sandbox()
    print("Gathering the case: one walk through attestation and release …", file=sys.stderr)
    case = gather_case(cloud, stage, release=not arguments.no_release)
    print("Asking the doctor …", file=sys.stderr)
    return case, doctor_report(cloud, stage)


def _saved_case(name: str) -> tuple[Case, dict[str, Json]]:
    from skrkit.diagnosis.case_json import case_from_json

    return case_from_json(read_input(name)), {}


def _show(arguments: argparse.Namespace) -> int:
    """Return 0 once an intact bundle is shown."""
    from skrkit.bundle.views import view_of_bundle

    bundle = _opened(arguments.file)
    if arguments.json:
        _print(_document(bundle))
    else:
        _draw(view_of_bundle(bundle, _sha256(bundle.raw)))
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    """Return 0 for an intact bundle with evidence that verifies, 4 for any other."""
    from skrkit.bundle.views import OF_SANDBOX, UNSIGNED
    from skrkit.diagnosis.verification import verified_evidence
    from skrkit.render.view import View, view_of_result

    bundle = _opened(arguments.file)
    result = verified_evidence(bundle.case)
    intact = f"INTACT: {len(bundle.manifest.entries)} files, each as the manifest says. {UNSIGNED}"
    evidence: Json = None if result is None else result.fields()
    if arguments.json:
        captured = bundle.manifest.captured_at.isoformat()
        _print({"sha256": _sha256(bundle.raw), "intact": True, "captured_at": captured, "evidence": evidence})
    elif result is None:
        _draw(View(heading="Evidence bundle", blocks=(intact, "NOT VERIFIED: there is no HCL report in it.")))
    else:
        of_sandbox = (OF_SANDBOX,) if result.root != "AMD" else ()
        _draw(View(heading="Evidence bundle", blocks=(intact, view_of_result(result), *of_sandbox)))
    if arguments.partial and (result is None or result.verdict == "incomplete"):
        return 0
    return VerificationError.exit_code if result is None else result.exit_code


def _replay(arguments: argparse.Namespace) -> int:
    """Return 0 if every check that can be made comes out as recorded, else 4."""
    from skrkit.bundle.replay import replay
    from skrkit.bundle.views import view_of_replay

    replayed = replay(_opened(arguments.file))
    if arguments.json:
        _print(replayed.fields())
    else:
        _draw(view_of_replay(replayed))
    return replayed.exit_code


def _opened(name: str) -> Bundle:
    from skrkit.bundle.archive import MAX_BUNDLE_BYTES
    from skrkit.bundle.bundle import open_bundle

    return open_bundle(read_input(name, limit=MAX_BUNDLE_BYTES))


def _document(bundle: Bundle) -> dict[str, Json]:
    """Return what `create` and `show` print as JSON: the manifest, the file's own digest, what was recorded."""
    recorded: dict[str, Json] = {name: dict(outcome) for name, outcome in bundle.recorded.items()}
    return {
        "sha256": _sha256(bundle.raw),
        "manifest": bundle.manifest.fields(),
        "recorded": recorded,
        "doctor": dict(bundle.doctor),
        "versions": dict(bundle.versions),
    }


def _written(path: Path, bundle: Bundle) -> View:
    from skrkit.bundle.views import privacy
    from skrkit.render.view import View

    facts = (f"{len(bundle.raw)} bytes", f"{len(bundle.manifest.entries)} files")
    return View(
        heading=f"Written: {path}",
        facts=facts,
        blocks=(
            f"SHA-256: {_sha256(bundle.raw)}",
            *privacy(bundle.manifest),
            f"Before you pass it on: skrkit bundle show {path}",
        ),
    )


def _write(path: Path, data: bytes) -> None:
    """Write by way of a fresh file, for its owner alone (0600). Raises `UsageError`, also for a file that is there."""
    from skrkit.cli.saved import write_fresh

    try:
        if path.exists():
            raise UsageError(
                what="bundle",
                where=str(path),
                expected="a name that is free",
                found="a file of that name",
                fix="Choose another name with -o, or remove that file.",
            )
        write_fresh(path, data)
    except OSError as cause:
        raise UsageError(
            what="bundle",
            where=str(path),
            expected="a place that can be written",
            found=str(cause.strerror),
            fix="Choose another place with -o.",
        ) from cause


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _print(document: dict[str, Json]) -> None:
    import json

    print(json.dumps(document, indent=2))


def _draw(view: View) -> None:
    from skrkit.render.plain import write

    write(view, sys.stdout)
