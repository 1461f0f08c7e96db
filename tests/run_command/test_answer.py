"""Answers in slices: whole again in any order, or a named failure."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skrkit.errors import ParseError
from skrkit.run_command.answer import MAX_OUTPUT_BYTES, Slice, packed, parse_slice, slice_of, unpacked

ANSWER = bytes(range(256)) * 3 + b"".join(index.to_bytes(4, "big") for index in range(20_000))


def slices(answer: bytes = ANSWER) -> list[Slice]:
    whole = packed(answer)
    first = slice_of(whole, 0)
    return [first, *(slice_of(whole, number) for number in range(1, first.count))]


@given(st.binary(max_size=20_000), st.randoms())
def test_what_was_cut_is_whole_again(answer: bytes, chance: object) -> None:
    made = slices(answer)
    chance.shuffle(made)  # type: ignore[attr-defined]
    assert unpacked([read for each in made if (read := parse_slice(f"noise\n{each.line()}\n"))]) == answer


def test_each_slice_fits_where_run_command_cuts() -> None:
    made = slices()
    assert len(made) > 2
    assert (
        max(len(each.line()) for each in made) + len("Enable succeeded: \n[stdout]\n\n\n[stderr]\n") <= MAX_OUTPUT_BYTES
    )


def test_another_program_unpacks_it_too() -> None:
    whole = b"".join(each.data for each in slices())
    done = subprocess.run(["xz", "--decompress", "--stdout"], input=whole, capture_output=True, check=True)
    assert done.stdout == ANSWER


def test_a_line_that_was_cut_at_its_beginning_is_no_slice() -> None:
    assert parse_slice(slices()[0].line()[1:]) is None
    assert parse_slice("") is None


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda made: made[1:], "no slice 0"),
        (lambda made: [made[0], replace(made[1], sha256="0" * 64), *made[2:]], "slices of 2"),
        (lambda made: [replace(each, sha256="0" * 64) for each in made], "SHA-256"),
        (lambda made: [replace(made[0], data=b"\0" * len(made[0].data)), *made[1:]], "SHA-256"),
        (lambda _made: [], "slices of 0"),
    ],
)
def test_what_is_not_whole_is_refused(change: object, found: str) -> None:
    assert callable(change)
    with pytest.raises(ParseError) as caught:
        unpacked(change(slices()))
    assert found in caught.value.found
    assert caught.value.what == "answer of a run command"


def test_what_unpacks_to_too_much_is_refused() -> None:
    with pytest.raises(ParseError) as caught:
        unpacked(slices(b"\0" * (5 << 20)))
    assert caught.value.expected == "at most 4194304 bytes"
