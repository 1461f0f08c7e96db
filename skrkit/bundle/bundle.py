"""A bundle, opened: what is in it once every file is as its manifest says. Bytes in; no file, no socket, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from skrkit.bundle import manifest as manifests
from skrkit.bundle.archive import unpack
from skrkit.bundle.contents import case_of
from skrkit.bundle.manifest import Manifest, check_files, parse_manifest
from skrkit.bundle.outcomes import CHECKS
from skrkit.diagnosis.case import Case
from skrkit.encoding import json_object
from skrkit.errors import ParseError, VerificationError
from skrkit.wire import Json

DOCTOR = "report/doctor.json"
VERSIONS = "report/versions.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """An opened bundle, every file as its manifest says: the case in it, and what was recorded of its checks."""

    manifest: Manifest
    case: Case = field(repr=False)
    recorded: Mapping[str, Mapping[str, Json]] = field(repr=False)
    doctor: Mapping[str, Json] = field(repr=False)
    versions: Mapping[str, Json]
    raw: bytes = field(repr=False)


def open_bundle(data: bytes) -> Bundle:
    """Return the bundle in `data`, once every file has the size and the SHA-256 that the manifest says.

    Raises `ParseError` for what is no bundle or of a newer version, `VerificationError` for one that was changed.
    """
    files = unpack(data)
    if manifests.NAME not in files:
        raise ParseError(
            what="evidence bundle",
            where=manifests.NAME,
            expected="a manifest",
            found="no such file",
            fix="Pass a file that `skrkit bundle create` wrote.",
        )
    manifest = parse_manifest(files[manifests.NAME])
    check_files(manifest, files)
    case = case_of(files)
    if case.at != manifest.captured_at:
        raise VerificationError(
            what="evidence bundle, time of capture",
            where="/captured_at",
            expected=f"that of the case, {'nothing' if case.at is None else case.at.isoformat()}",
            found=manifest.captured_at.isoformat(),
            fix="Take the bundle again from who made it: this one was changed since.",
            step="bundle.time",
        )
    return Bundle(
        manifest=manifest,
        case=case,
        recorded={
            check.name: json_object(files[name], what="evidence bundle", where=name, limit=len(files[name]))
            for check in CHECKS
            if (name := f"report/{check.name}.json") in files
        },
        doctor=_read(files, DOCTOR),
        versions=_read(files, VERSIONS),
        raw=data,
    )


def _read(files: Mapping[str, bytes], name: str) -> dict[str, Json]:
    return json_object(files[name], what="evidence bundle", where=name) if name in files else {}
