"""The cursor never runs past the end; a layout table has neither gap nor overlap."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skrkit.errors import ParseError
from skrkit.wire import Cursor, Field, check_layout, is_zero, pointer, walk, where


def test_integers_are_read_in_the_byte_order_asked_for() -> None:
    data = struct.pack(">HI", 0x1234, 0x56789ABC)
    big = Cursor(data, "T")
    assert (big.uint(2, "a"), big.uint(4, "b")) == (0x1234, 0x56789ABC)
    little = Cursor(data, "T", endian="little")
    assert little.uint(2, "a") == 0x3412


def test_spans_say_where_a_value_stands_counting_from_base() -> None:
    cursor = Cursor(b"\x00\x02\xab\xcd", "T", base=0x20)
    assert cursor.sized(2, "name", limit=8) == b"\xab\xcd"
    (span,) = cursor.recorded
    assert (span.offset, span.size, span.value) == (0x20, 4, "abcd")


def test_a_truncated_field_is_named_with_its_place() -> None:
    cursor = Cursor(b"\x00\x01", "TPMS_ATTEST", base=4)
    with pytest.raises(ParseError) as caught:
        cursor.take(4, "magic")
    assert (caught.value.what, caught.value.where) == ("TPMS_ATTEST magic", "byte 0x4, 4 bytes")
    assert (caught.value.expected, caught.value.found) == ("4 more bytes", "2 left")


def test_a_size_beyond_the_limit_is_not_believed() -> None:
    with pytest.raises(ParseError, match=r"expected at most 64, found 65535"):
        Cursor(b"\xff\xff" + bytes(8), "T").sized(2, "name", limit=64)


def test_trailing_bytes_are_an_error() -> None:
    cursor = Cursor(b"\x00\x01", "T")
    cursor.take(1, "a")
    with pytest.raises(ParseError, match="expected no more bytes, found 1 trailing"):
        cursor.end()


@given(st.binary(max_size=64), st.lists(st.integers(0, 40), max_size=8))
def test_a_cursor_gives_the_bytes_or_an_error_and_nothing_else(data: bytes, sizes: list[int]) -> None:
    cursor, taken = Cursor(data, "T"), b""
    try:
        for size in sizes:
            taken += cursor.take(size, "x")
    except ParseError:
        assert sum(sizes) > len(data)
    assert data.startswith(taken)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ((Field("a", 0, 4), Field("b", 5, 3)), "offset 0x5 where the row before ends at 0x4"),
        ((Field("a", 0, 4),), "layout ends at 0x4, not at 0x8"),
    ],
)
def test_a_layout_with_a_gap_is_found(rows: tuple[Field, ...], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check_layout(rows, size=8)


def test_small_words() -> None:
    assert where(0x4C8, 1) == "byte 0x4C8, 1 byte"
    assert pointer("a/b", 0, "c~d") == "/a~1b/0/c~0d"
    assert (is_zero(b""), is_zero(b"\0\0"), is_zero(b"\0\1")) == (True, True, False)
    assert list(walk({"a": [1, {"b": None}]})) == [("/a/0", 1), ("/a/1/b", None)]
