"""Shamir's secret sharing over GF(256): any `quorum` of the shares give the secret, fewer say nothing about it.

The field is that of AES (FIPS 197 section 4.2). The real service's format of shares is its own; this is the sandbox's.
Source: A. Shamir, How to share a secret, Communications of the ACM 22 (1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MAX_SHARES = 255
_MODULUS = 0x11B


def multiplied(a: int, b: int) -> int:
    """Return the product of two elements of GF(256)."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a & 0x100:
            a ^= _MODULUS
        b >>= 1
    return product


def _inverse(a: int) -> int:
    """Return a to the power of 254: the inverse of every element but zero."""
    result = 1
    for _ in range(254):
        result = multiplied(result, a)
    return result


def split(secret: bytes, *, quorum: int, shares: int, random: bytes) -> dict[int, bytes]:
    """Return the shares by their number, from 1. `random` are `len(secret) * (quorum - 1)` random bytes."""
    assert 1 <= quorum <= shares <= MAX_SHARES
    assert len(random) == len(secret) * (quorum - 1)
    width = quorum - 1
    polynomials = [(byte, *random[place * width : (place + 1) * width]) for place, byte in enumerate(secret)]
    return {x: bytes(_value(coefficients, x) for coefficients in polynomials) for x in range(1, shares + 1)}


def _value(coefficients: Sequence[int], x: int) -> int:
    """Return the value of a polynomial at x, the constant first, by Horner's rule."""
    result = 0
    for coefficient in reversed(coefficients):
        result = multiplied(result, x) ^ coefficient
    return result


def joined(shares: Mapping[int, bytes]) -> bytes:
    """Return the secret of shares by number: the right one from a quorum on, with fewer some other bytes."""
    weights = {x: _weight(x, [other for other in shares if other != x]) for x in shares}
    size = min(len(share) for share in shares.values())
    secret = bytearray(size)
    for x, share in shares.items():
        for place in range(size):
            secret[place] ^= multiplied(weights[x], share[place])
    return bytes(secret)


def _weight(x: int, others: Sequence[int]) -> int:
    """Return Lagrange's weight of the share x at zero."""
    weight = 1
    for other in others:
        weight = multiplied(weight, multiplied(other, _inverse(other ^ x)))
    return weight
