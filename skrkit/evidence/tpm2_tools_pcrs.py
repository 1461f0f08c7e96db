"""The PCR file of `tpm2_quote --pcr`: tpm2-tools writes its own C structures to disk, little-endian on every machine.

TPML_PCR_SELECTION with room for 16 banks, then a count, then as many TPML_DIGEST with room for 8 digests each.
Source: tpm2-tools, lib/pcr.c and lib/files.c; the sizes are held against a real file of 668 bytes.
"""

from __future__ import annotations

from skrkit.errors import ParseError
from skrkit.wire import Cursor, where

SHA256 = 0x000B
DIGEST_BYTES = 32
MAX_BANKS = 16
_SELECTION_BYTES = 8  # hash u16, sizeofSelect u8, pcrSelect[4], one byte of C's padding
_DIGESTS_PER_LIST = 8
_DIGEST_SLOT_BYTES = 64
MAX_LISTS = 16
SELECTIONS_BYTES = 4 + MAX_BANKS * _SELECTION_BYTES
LIST_BYTES = 4 + _DIGESTS_PER_LIST * (2 + _DIGEST_SLOT_BYTES)
_WHAT = "tpm2-tools PCR file"
_SOURCE = "tpm2-tools lib/pcr.c"


def parse_tpm2_tools_pcrs(data: bytes) -> dict[int, bytes]:
    """Return the SHA-256 PCR values in `data` by index. The file must hold that bank and no other.

    Raises `ParseError`: another bank, counts that contradict each other, another digest size, truncated, trailing.
    """
    cursor = Cursor(data, _WHAT, endian="little", source=_SOURCE)
    pcrs = _selected(cursor)
    digests: list[bytes] = []
    lists = cursor.uint(4, "list count")
    if lists > MAX_LISTS:
        raise _refuse(cursor.at - 4, 4, "list count", f"at most {MAX_LISTS}", str(lists))
    for _ in range(lists):
        count = cursor.uint(4, "digest count")
        if count > _DIGESTS_PER_LIST:
            raise _refuse(cursor.at - 4, 4, "digest count", f"at most {_DIGESTS_PER_LIST}", str(count))
        for slot in range(_DIGESTS_PER_LIST):
            size = cursor.uint(2, "digest size")
            value = cursor.take(_DIGEST_SLOT_BYTES, "digest")
            if slot < count:
                if size != DIGEST_BYTES:
                    raise _refuse(cursor.at - _DIGEST_SLOT_BYTES - 2, 2, "digest size", f"{DIGEST_BYTES}", str(size))
                digests.append(value[:size])
    cursor.end()
    if len(digests) != len(pcrs):
        raise _refuse(SELECTIONS_BYTES, 4, "digests", f"{len(pcrs)}, one a selected PCR", str(len(digests)))
    return dict(zip(pcrs, digests, strict=True))


def _selected(cursor: Cursor) -> list[int]:
    banks = cursor.uint(4, "bank count")
    if banks != 1:
        raise _refuse(0, 4, "bank count", "1 (sha256)", str(banks))
    pcrs: list[int] = []
    for slot in range(MAX_BANKS):
        alg = cursor.uint(2, "bank")
        size = cursor.uint(1, "sizeofSelect")
        bits = int.from_bytes(cursor.take(5, "pcrSelect")[:4], "little")
        if slot == 0:
            if alg != SHA256 or size > 4 or bits >> 8 * size:
                found = f"0x{alg:04x}, {size} bytes of selection"
                raise _refuse(4, _SELECTION_BYTES, "bank", "0x000b (sha256) and up to 4 bytes of selection", found)
            pcrs = [index for index in range(32) if bits >> index & 1]
    return pcrs


def _refuse(offset: int, size: int, name: str, expected: str, found: str) -> ParseError:
    return ParseError(
        what=f"{_WHAT} {name}",
        where=where(offset, size),
        expected=expected,
        found=found,
        fix="Pass what `tpm2_quote --pcr FILE` wrote for the sha256 bank, or a JSON array of the values in hex.",
        source=_SOURCE,
    )
