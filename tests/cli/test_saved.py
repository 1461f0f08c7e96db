"""Saved artefacts: which files, whose, and that nothing that lies in the folder already is trusted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from skrkit.artefact import Artefact
from skrkit.cli.saved import save
from skrkit.errors import UsageError
from skrkit.wire import Json

posix = pytest.mark.skipif(os.name == "nt", reason="modes and links are POSIX's")


def artefact(name: str = "thing", body: Json = None, raw: bytes | None = None) -> Artefact:
    return Artefact(step=3, name=name, title="T", proves="P.", next="N.", body=body or {"a": 1}, raw=raw)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_each_artefact_is_a_file_and_the_index_names_them_all(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    index = save([artefact(), artefact("bytes", raw=b"\x00\x01")], folder)
    document = json.loads(index.read_text())
    named = [name for entry in document["artefacts"] for name in entry["files"]]
    assert named == ["3-01-thing.json", "3-02-bytes.json", "3-02-bytes.bin"]
    assert {path.name for path in folder.iterdir()} == {*named, "index.json"}
    assert (folder / "3-02-bytes.bin").read_bytes() == b"\x00\x01"
    assert json.loads((folder / "3-01-thing.json").read_text())["body"] == {"a": 1}


@pytest.mark.parametrize(
    ("raw", "suffix"),
    [
        (b"-----BEGIN CERTIFICATE-----\n", ".pem"),
        (b"eyJhbGciOiJSUzI1NiJ9.e30.c2ln", ".jwt"),
        (b"eyJ2ZXJzaW9uIjoiMS4wLjAifQ", ".txt"),  # base64url of JSON is no JWT: it has one part, not three
        (b"\xffTCG", ".bin"),
        (b"", ".bin"),
    ],
)
def test_the_suffix_says_what_the_bytes_are(tmp_path: Path, raw: bytes, suffix: str) -> None:
    save([artefact(raw=raw)], tmp_path)
    assert (tmp_path / f"3-01-thing{suffix}").read_bytes() == raw


@posix
def test_files_are_their_owner_s_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = save([artefact(raw=b"x")], tmp_path / "new").parent
    finally:
        os.umask(before)
    assert mode(folder) == 0o700
    assert {mode(path) for path in folder.iterdir()} == {0o600}


@posix
def test_an_open_file_of_an_earlier_save_becomes_private(tmp_path: Path) -> None:
    old = tmp_path / "3-01-thing.json"
    old.write_text("old")
    old.chmod(0o666)
    save([artefact()], tmp_path)
    assert mode(old) == 0o600
    assert "old" not in old.read_text()


@posix
@pytest.mark.parametrize("name", ["3-01-thing.json", "3-01-thing.bin", "index.json"])
def test_a_link_in_the_folder_is_replaced_and_not_followed(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / name).symlink_to(victim)
    save([artefact(raw=b"\x00")], folder)
    assert victim.read_text() == "precious"
    assert not (folder / name).is_symlink()


def test_a_file_in_the_folder_s_place_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError) as caught:
        save([artefact()], tmp_path / "file")
    assert (caught.value.what, caught.value.where) == ("--save", str(tmp_path / "file"))
    assert caught.value.expected == "a folder that can be written"


def test_a_write_that_fails_leaves_no_half_file(tmp_path: Path) -> None:
    (tmp_path / "3-01-thing.json").mkdir()  # a folder cannot be replaced by a file
    with pytest.raises(UsageError):
        save([artefact()], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["3-01-thing.json"]
