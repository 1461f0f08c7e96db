"""Shamir's secret sharing over GF(257): any `quorum` of the shares give the secret, fewer say nothing about it.

Field and form are those in which the Azure CLI joins the shares of a security domain: for each byte of the secret a
number of 16 bits, little-endian, whose upper 7 bits are the share's place and whose lower 9 bits are its value.
Source: A. Shamir, How to share a secret, Communications of the ACM 22 (1979).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

PRIME = 257
MAX_SHARES = 126
VALUE_BITS = 9
RANDOM_BYTES = 2  # for each coefficient: 65536 is 255 times 257 and one, so no value is seen more often to any use


def split(secret: bytes, *, quorum: int, shares: int, random: bytes) -> list[bytes]:
    """Return the shares by their place, from 1 on. `random` are two random bytes for each byte and coefficient."""
    assert 1 <= quorum <= shares <= MAX_SHARES
    width = quorum - 1
    assert len(random) == RANDOM_BYTES * len(secret) * width
    drawn = [number % PRIME for number in struct.unpack(f"<{len(secret) * width}H", random)]
    polynomials = [(byte, *drawn[place * width : (place + 1) * width]) for place, byte in enumerate(secret)]
    return [_packed(x, [_value(coefficients, x) for coefficients in polynomials]) for x in range(1, shares + 1)]


def _packed(x: int, values: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(values)}H", *(x << VALUE_BITS | value for value in values))


def _value(coefficients: Sequence[int], x: int) -> int:
    """Return the value of a polynomial at x, the constant first, by Horner's rule."""
    result = 0
    for coefficient in reversed(coefficients):
        result = (result * x + coefficient) % PRIME
    return result


def joined(shares: Sequence[bytes]) -> bytes:
    """Return the secret of shares: the right one from a quorum on, with fewer some other bytes.

    Raises `ValueError` for shares of unequal length, for one that is given twice, and for a value that is no byte,
    which fewer than a quorum may give.
    """
    rows = [struct.unpack(f"<{len(share) // 2}H", share) for share in shares]
    places = [row[0] >> VALUE_BITS for row in rows]
    weights = [_weight(x, [other for other in places if other != x]) for x in places]
    if len(set(places)) != len(places):
        raise ValueError("a share twice")
    values = [[number & (1 << VALUE_BITS) - 1 for number in row] for row in rows]
    return bytes(
        sum(weight * value for weight, value in zip(weights, column, strict=True)) % PRIME
        for column in zip(*values, strict=True)
    )


def _weight(x: int, others: Sequence[int]) -> int:
    """Return Lagrange's weight of the share at x, for the value at zero."""
    weight = 1
    for other in others:
        weight = weight * other * pow(other - x, -1, PRIME) % PRIME
    return weight
