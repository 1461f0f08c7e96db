"""New keys, and what else of a certificate is random: from OpenSSL, or in a seeded sandbox from its seed.

OpenSSL takes no seed for a key. So the primes of a seeded RSA key are searched here, in the bytes of the seed, and
OpenSSL only says which numbers are prime; an elliptic-curve key is a number, which needs no search.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import gcd, isqrt, prod

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.x509 import Certificate, CertificateBuilder, random_serial_number

from skrkit.sandbox import chance

EXPONENT = 65537
SERIAL_BYTES = 20  # RFC 5280 section 4.1.2.2: at most 20 octets, and positive
_SIEVE_TO = 1 << 14


def rsa_key(label: str, bits: int, exponent: int = EXPONENT) -> rsa.RSAPrivateKey:
    """Return a new RSA key for what the label says. From a seed RSA-2048 takes about 0.1 s, RSA-4096 half a second."""
    if not chance.seeded():
        return rsa.generate_private_key(exponent, bits)
    p = _prime(label, bits // 2, exponent)
    q = _prime(label, bits // 2, exponent)
    if p < q:
        p, q = q, p
    numbers = rsa_numbers(p, q, exponent)
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)  # both were found prime a moment ago


def rsa_numbers(p: int, q: int, exponent: int = EXPONENT) -> rsa.RSAPrivateNumbers:
    """Return the numbers of the RSA key of two primes. Raises `ValueError` where the exponent has no inverse."""
    d = pow(exponent, -1, (p - 1) * (q - 1))
    return rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=rsa.rsa_crt_dmp1(d, p),
        dmq1=rsa.rsa_crt_dmq1(d, q),
        iqmp=rsa.rsa_crt_iqmp(p, q),
        public_numbers=rsa.RSAPublicNumbers(exponent, p * q),
    )


def _prime(label: str, bits: int, exponent: int) -> int:
    """Return the first prime after a random number of `bits` bits whose two upper bits are set: p times q fills up."""
    start = int.from_bytes(chance.token_bytes(label, bits // 8), "big") | 3 << (bits - 2) | 1
    for candidate in _candidates(start):
        if gcd(candidate - 1, exponent) == 1 and _is_prime(candidate, exponent):
            return candidate
    raise AssertionError("no prime in twenty times the distance in which there should be one")


def _candidates(start: int) -> Iterator[int]:
    """Return the odd numbers from `start` on that no small prime divides: one in about nine."""
    size = start.bit_length() * 10  # primes lie 0.7 times as far apart as a number has bits; these are odd ones
    divided = bytearray(size)
    for small in _small_primes():
        first = -start * pow(2, -1, small) % small  # start + 2 * first is divisible
        divided[first::small] = b"\1" * len(range(first, size, small))
    return (start + 2 * place for place in range(size) if not divided[place])


@cache
def _small_primes() -> tuple[int, ...]:
    below = prod(range(3, isqrt(_SIEVE_TO) + 1, 2))
    small = [number for number in range(3, isqrt(_SIEVE_TO) + 1, 2) if all(number % by for by in range(3, number, 2))]
    return (*small, *(number for number in range(isqrt(_SIEVE_TO) + 1, _SIEVE_TO, 2) if gcd(number, below) == 1))


def _is_prime(candidate: int, exponent: int) -> bool:
    """Return whether OpenSSL takes the number for prime, as it does when it checks a key: here one with 3 as q.

    That is some twenty times faster than Python's own arithmetic, and no second opinion about what a prime is.
    """
    try:
        rsa_numbers(candidate, 3, exponent).private_key()
    except ValueError:
        return False
    return True


def ec_key(label: str, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
    """Return a new elliptic-curve key for what the label says."""
    if not chance.seeded():
        return ec.generate_private_key(curve)
    drawn = int.from_bytes(chance.token_bytes(label, (curve.key_size + 7) // 8), "big")
    # One bit less than the curve has: below the order of each that the sandbox knows.
    return ec.derive_private_key(drawn % (1 << (curve.key_size - 1)), curve)


def ecdsa(algorithm: HashAlgorithm | Prehashed) -> ec.ECDSA:
    """Return ECDSA over a hash. With a seed its signatures are deterministic (RFC 6979), where OpenSSL can do that."""
    if chance.seeded():
        try:
            return ec.ECDSA(algorithm, deterministic_signing=True)
        except UnsupportedAlgorithm:
            pass  # before OpenSSL 3.2: this signature will be another one each time
    return ec.ECDSA(algorithm)


def serial_number(label: str) -> int:
    """Return a random serial number of a certificate, positive and of at most 20 bytes."""
    if not chance.seeded():
        return random_serial_number()
    return int.from_bytes(chance.token_bytes(label, SERIAL_BYTES), "big") >> 1 | 1


def signed(
    builder: CertificateBuilder, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, algorithm: HashAlgorithm
) -> Certificate:
    """Return a certificate, signed RSASSA-PKCS1-v1_5 or ECDSA; with a seed deterministically, as `ecdsa` says."""
    if chance.seeded() and isinstance(key, ec.EllipticCurvePrivateKey):
        try:
            return builder.sign(key, algorithm, ecdsa_deterministic=True)  # type: ignore[arg-type]
        except UnsupportedAlgorithm:
            pass
    return builder.sign(key, algorithm)  # type: ignore[arg-type]
