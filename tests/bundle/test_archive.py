"""The container: what a stranger's zip reads, what a stranger's zip writes, and every way to be no bundle."""

from __future__ import annotations

import io
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.bundle import archive
from skrkit.bundle.archive import MAX_FILE_BYTES, MAX_FILES, pack, unpack
from skrkit.errors import ParseError, SkrkitError, VerificationError

FILES = {"manifest.json": b"{}", "evidence/hcl-report.bin": bytes(range(256)) * 8, "case/policy.json": b"text\n"}


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as made:
        for name, data in members:
            made.writestr(name, data)
    return out.getvalue()


def test_the_same_files_make_the_same_bytes_in_any_order() -> None:
    packed = pack(FILES)
    assert pack(dict(reversed(FILES.items()))) == packed
    assert unpack(packed) == FILES
    assert list(unpack(packed)) == sorted(FILES)


@pytest.mark.skipif(shutil.which("unzip") is None, reason="Info-ZIP is not installed")
def test_info_zip_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    path.write_bytes(pack(FILES))
    subprocess.run(["unzip", "-tq", str(path)], check=True, capture_output=True)
    subprocess.run(["unzip", "-q", str(path), "-d", str(tmp_path / "out")], check=True, capture_output=True)
    for name, data in FILES.items():
        assert (tmp_path / "out" / name).read_bytes() == data
        assert stat.S_IMODE((tmp_path / "out" / name).stat().st_mode) == 0o600


@pytest.mark.skipif(shutil.which("zip") is None, reason="Info-ZIP is not installed")
def test_what_info_zip_writes_is_read(tmp_path: Path) -> None:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    subprocess.run(["zip", "-qr9D", "b.zip", *sorted(FILES)], check=True, cwd=tmp_path)
    assert unpack((tmp_path / "b.zip").read_bytes()) == FILES
    # with entries for folders, as `zip -r` makes them, it is no longer a list of plain files
    subprocess.run(["zip", "-qr", "c.zip", "evidence"], check=True, cwd=tmp_path)
    with pytest.raises(ParseError) as refused:
        unpack((tmp_path / "c.zip").read_bytes())
    assert refused.value.where == "'evidence/'"


@pytest.mark.skipif(shutil.which("zip") is None, reason="Info-ZIP is not installed")
def test_a_symbolic_link_of_a_real_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "passwd").symlink_to("/etc/passwd")
    subprocess.run(["zip", "-qy", "b.zip", "passwd"], check=True, cwd=tmp_path)
    with pytest.raises(ParseError) as refused:
        unpack((tmp_path / "b.zip").read_bytes())
    assert (refused.value.where, refused.value.found) == ("passwd", "a symbolic link")


@pytest.mark.skipif(shutil.which("zip") is None, reason="Info-ZIP is not installed")
def test_an_encrypted_file_of_a_real_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    subprocess.run(["zip", "-qP", "word", "b.zip", "a"], check=True, cwd=tmp_path)
    with pytest.raises(ParseError) as refused:
        unpack((tmp_path / "b.zip").read_bytes())
    assert refused.value.found == "an encrypted one"


@pytest.mark.parametrize(
    "name",
    [
        "../escape", "/etc/passwd", "a/../../b", "a\\b", "C:/x", "a//b", "a/", "./a", "", "A", "a b", "a\0b", "a" * 81,
        "é", "a/b/c/d/e", "-rf",
    ],
)  # fmt: skip
def test_a_name_that_leads_anywhere_is_refused(name: str) -> None:
    info = zipfile.ZipInfo("x")
    info.filename = name
    data = zipped((info, b""))
    with pytest.raises(ParseError):
        unpack(data)


def _bomb() -> bytes:
    return zipped(("bomb.bin", bytes(MAX_FILE_BYTES + 1)), method=zipfile.ZIP_DEFLATED)


def _lying_bomb() -> bytes:
    """A member that says it is small, in the directory and in its own header, and inflates beyond."""
    data = bytearray(zipped(("bomb.bin", bytes(MAX_FILE_BYTES + 9)), method=zipfile.ZIP_DEFLATED))
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(mark) + offset
        data[at : at + 4] = (10).to_bytes(4, "little")
    return bytes(data)


def _wide_bomb() -> bytes:
    members = [(f"f{number}", bytes(MAX_FILE_BYTES)) for number in range(9)]
    return zipped(*members, method=zipfile.ZIP_DEFLATED)


def _twice() -> bytes:
    with pytest.warns(UserWarning, match="Duplicate name"):
        return zipped(("a", b"1"), ("a", b"2"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: b"", "no bytes"),
        (lambda: b"hello, world", "68656c6c"),
        (lambda: b"#!/bin/sh\n" + pack(FILES), "23212f62"),
        (lambda: bytes(archive.MAX_BUNDLE_BYTES + 1), f"{archive.MAX_BUNDLE_BYTES + 1} bytes"),
        (lambda: zipped(*((f"f{number}", b"") for number in range(MAX_FILES + 1))), str(MAX_FILES + 1)),
        (_bomb, f"{MAX_FILE_BYTES + 1} bytes"),
        (_wide_bomb, f"{9 * MAX_FILE_BYTES} bytes"),
        (_twice, "the name twice"),
        (lambda: zipped(("a", b"1"), method=zipfile.ZIP_BZIP2), "method 12"),
        (lambda: pack(FILES)[:-1], "File is not a zip file"),
    ],
    ids=["empty", "text", "prefix", "large", "many", "bomb", "wide-bomb", "twice", "method", "truncated"],
)
def test_what_is_no_bundle_is_refused_by_name(make: Callable[[], bytes], said: str) -> None:
    with pytest.raises(ParseError) as refused:
        unpack(make())
    assert said in refused.value.found
    assert refused.value.fix


def test_a_bomb_that_lies_about_its_size_costs_no_more_than_the_limit() -> None:
    with pytest.raises((ParseError, VerificationError)):
        unpack(_lying_bomb())


def test_every_changed_byte_of_the_contents_is_found() -> None:
    packed = pack(FILES)
    start = packed.index(FILES["evidence/hcl-report.bin"])
    for at in range(start, start + 2048, 97):
        changed = packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :]
        with pytest.raises(VerificationError) as refused:
            unpack(changed)
        assert (refused.value.step, "hcl-report" in refused.value.what) == ("bundle.crc", True)


def test_every_truncation_is_refused() -> None:
    packed = pack(FILES)
    for size in range(0, len(packed), 61):
        with pytest.raises(ParseError):
            unpack(packed[:size])


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_no_mutation_raises_anything_but_a_named_error(data: st.DataObject) -> None:
    packed = bytearray(pack(FILES))
    for _ in range(data.draw(st.integers(1, 6))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    with suppress(SkrkitError):
        unpack(bytes(packed))
