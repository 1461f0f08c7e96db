"""The bundle's container: a zip that the same contents always make byte for byte, and that is read with suspicion.

Members are stored, not compressed: what compresses differs from one zlib to the next. Reading takes any ordinary zip,
writes nothing to disk, and gives no member more memory than its limit.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from typing import NoReturn

from skrkit.errors import ParseError, VerificationError

MAX_BUNDLE_BYTES = 32 << 20  # a whole release with its evidence makes some 300 kB
MAX_FILES = 64
MAX_FILE_BYTES = 4 << 20  # an event log, the largest part, has at most 1 MiB
MAX_NAME = 80

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can say
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*){0,3}")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_WHAT = "evidence bundle"
_FIX = "Take the file again from where it was made: `skrkit bundle create` writes it whole or not at all."


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return the zip of these files, in the order of their names, each with the same date and mode."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            assert _NAME.fullmatch(name), name
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3  # Unix, on every system: the mode below is Unix's
            info.external_attr = (stat.S_IFREG | 0o600) << 16
            archive.writestr(info, files[name])
    return out.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """Return the files of a bundle by name, in the zip's own order.

    Raises `ParseError`: not a zip, truncated, too large or too many, encrypted, a folder, a link, a name that leads
    anywhere, a name twice. Raises `VerificationError` (step `bundle.crc`) for bytes that were changed.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        _refuse("the whole file", f"at most {MAX_BUNDLE_BYTES} bytes", f"{len(data)} bytes", "This is no bundle.")
    if not data.startswith(b"PK\x03\x04"):
        fix = "Pass the file that `skrkit bundle create` wrote; `skrkit inspect` says what another file is."
        _refuse("byte 0x0, 4 bytes", "PK 03 04, a zip", data[:4].hex() or "no bytes", fix)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _check_members(members)
            return {info.orig_filename: _read(archive, info) for info in members}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OSError, EOFError) as cause:
        _refuse("its directory", "a whole zip", str(cause) or type(cause).__name__, _FIX)


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_FILES:
        _refuse("its directory", f"at most {MAX_FILES} files", str(len(members)), "This is no bundle.")
    seen: set[str] = set()
    total = 0
    for info in members:
        name = info.orig_filename
        if not _NAME.fullmatch(name) or len(name) > MAX_NAME or ".." in name:
            fix = "Do not unpack this file: a bundle has plain names, which lead nowhere."
            _refuse(repr(name[:MAX_NAME]), "a name such as evidence/hcl-report.bin", "another kind of name", fix)
        if name in seen:
            _refuse(name, "each name once", "the name twice", _FIX)
        seen.add(name)
        _check_member(info)
        total += info.file_size
    if total > MAX_BUNDLE_BYTES:
        _refuse("its directory", f"at most {MAX_BUNDLE_BYTES} bytes in all", f"{total} bytes", "This is no bundle.")


def _check_member(info: zipfile.ZipInfo) -> None:
    mode = info.external_attr >> 16
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        found = "a symbolic link" if stat.S_ISLNK(mode) else f"mode {stat.filemode(mode)}"
        _refuse(info.orig_filename, "a plain file", found, "Do not unpack this file: a bundle has no links.")
    if info.flag_bits & 0x1:
        _refuse(info.orig_filename, "a file that can be read", "an encrypted one", _FIX)
    if info.compress_type not in _METHODS:
        _refuse(info.orig_filename, "stored or deflated", f"method {info.compress_type}", _FIX)
    if info.file_size > MAX_FILE_BYTES:
        fix = "Do not unpack this file: no part of a bundle is that large."
        _refuse(info.orig_filename, f"at most {MAX_FILE_BYTES} bytes", f"{info.file_size} bytes", fix)


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(info) as member:
            data = member.read(MAX_FILE_BYTES + 1)  # the directory's size is a claim
    except (zipfile.BadZipFile, zlib.error) as cause:
        if "CRC" not in str(cause) and not isinstance(cause, zlib.error):
            raise
        raise VerificationError(
            what=f"{_WHAT}, {info.orig_filename}",
            where="its bytes",
            expected=f"CRC-32 {info.CRC:08x}",
            found="other bytes",
            fix=_FIX,
            step="bundle.crc",
        ) from None
    if len(data) != info.file_size:
        _refuse(info.orig_filename, f"{info.file_size} bytes, as the directory says", f"{len(data)} or more", _FIX)
    return data


def _refuse(where: str, expected: str, found: str, fix: str) -> NoReturn:
    raise ParseError(what=_WHAT, where=where, expected=expected, found=found, fix=fix)
