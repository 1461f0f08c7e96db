"""The views of a bundle: what is in it, and what its checks say when they are made again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from skrkit.render.view import Block, Row, Rows, Step, Steps, Verdict, View, scalar

if TYPE_CHECKING:
    from skrkit.bundle.bundle import Bundle
    from skrkit.bundle.manifest import Manifest
    from skrkit.bundle.replay import Replay
    from skrkit.wire import Json

UNSIGNED = "Nobody signs a manifest: its hashes show accidents. What the evidence proves, its own signatures prove."
OF_SANDBOX = (
    "This is of a sandbox: its evidence roots in keys that the bundle names itself, and proves nothing to others."
)


def view_of_bundle(bundle: Bundle, digest: str) -> View:
    """Return the view of an intact bundle: when, where, what was recorded, each file, what was replaced and what not.

    `digest` is the SHA-256 of the whole file, in hex: what one passes on beside it.
    """
    manifest = bundle.manifest
    facts = (
        f"captured {manifest.captured_at:%Y-%m-%d %H:%M:%S %Z}",
        manifest.world or "a world that is not named",
        f"skrkit {manifest.skrkit}",
        f"{len(manifest.entries)} files",
    )
    blocks: list[Block] = [
        f"SHA-256 of the bundle: {digest}",
        Rows(rows=tuple(_recorded(bundle)), title="Recorded"),
        Rows(
            rows=tuple(
                Row(name=entry.name, value=f"{entry.size} bytes", note=entry.title) for entry in manifest.entries
            ),
            title="Files",
        ),
        *privacy(manifest),
        *((OF_SANDBOX,) if manifest.world == "sandbox" else ()),
        UNSIGNED,
    ]
    return View(heading=manifest.title, facts=facts, blocks=tuple(blocks))


def privacy(manifest: Manifest) -> Iterator[Block]:
    """Return what was replaced, what raw evidence still shows, and what was left out: for who passes a bundle on."""
    redaction = manifest.redaction
    rows = [
        Row(name="identifiers", value=scalar(redaction.get("identifiers")), note=_counted(redaction.get("replaced")))
    ]
    rows.append(Row(name="secrets", value="digests", note=_counted(redaction.get("secrets"))))
    yield Rows(rows=tuple(rows), title="Replaced")
    if manifest.carried:
        shown = tuple(
            Row(name=str(row.get("file")), value=str(row.get("identifier")), note=str(row.get("where")))
            for row in manifest.carried
        )
        yield Rows(rows=shown, title="Identifiers that the raw evidence shows, since signatures cover its every byte")
    yield from (f"Left out: {text}" for text in manifest.left_out)
    yield from (f"Note: {text}" for text in manifest.notes)


def view_of_replay(replay: Replay) -> View:
    """Return the view of a replay: a step a check, and below those that differ each answer that does."""
    verdicts: Mapping[str, Verdict] = {"same": "ok", "differs": "failed", "not-checked": "not-checked"}
    steps = tuple(
        Step(id=check.name, verdict=verdicts[check.verdict], detail=f"{check.title}: {check.detail}")
        for check in replay.checks
    )
    blocks: list[Block] = [Steps(steps=steps)]
    for check in replay.checks:
        if check.differences:
            rows = tuple(
                Row(name=each.at, value=f"recorded {scalar(each.recorded)}, now {scalar(each.found)}")
                for each in check.differences
            )
            blocks.append(Rows(rows=rows, title=f"{check.title}: what differs"))
    blocks += [f"{check.title}: {said}" for check in replay.checks if (said := _said(check.name, check.outcome))]
    word = "something differs from what was recorded" if replay.exit_code else "as recorded"
    return View(
        heading=f"{replay.title}: {word}",
        facts=(f"for {replay.captured_at}", f"recorded by skrkit {replay.skrkit}"),
        blocks=tuple(blocks),
    )


def _recorded(bundle: Bundle) -> Iterator[Row]:
    from skrkit.bundle.outcomes import CHECKS

    for check in CHECKS:
        if check.name in bundle.recorded:
            yield Row(name=check.title, value=_said(check.name, bundle.recorded[check.name]) or "recorded")
    checks = bundle.doctor.get("checks")
    if isinstance(checks, list):
        verdicts = [str(check.get("verdict")) for check in checks if isinstance(check, dict)]
        counts = ", ".join(f"{verdicts.count(each)} {each}" for each in dict.fromkeys(verdicts))
        yield Row(name="Doctor's report", value=counts or "no checks")
    error = bundle.case.error
    ended = f"{error.get('what')}: {error.get('found')}" if error else "the key was released, or the walk was not tried"
    yield Row(name="How it ended", value=ended)


def _said(name: str, outcome: Mapping[str, Json]) -> str:
    """Return an outcome in a line."""
    if name in ("evidence", "token"):
        verdict = str(outcome.get("verdict") or "")
        step = str(outcome.get("step") or "")
        return f"{verdict}{f' at {step}' if step else ''}{', as recorded' if outcome.get('recorded') else ''}"
    if name == "claims":
        return _counted(outcome.get("counts"))
    if name == "decision":
        return "" if "holds" not in outcome else "the policy holds" if outcome["holds"] else "the policy says no"
    findings = outcome.get("findings")
    causes = [str(row.get("cause")) for row in findings if isinstance(row, dict)] if isinstance(findings, list) else []
    return ", then ".join(causes[:3]) or ("no finding" if name == "explanation" and outcome else "")


def _counted(counts: Json) -> str:
    members = counts if isinstance(counts, dict) else {}
    return ", ".join(f"{scalar(count)} {name}" for name, count in members.items())
