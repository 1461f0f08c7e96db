"""Encryption of a command's or response's first parameter by a session. Source: part 1, clause 21."""

from __future__ import annotations

from skrkit.sandbox.vtpm.algorithms import cfb, kdfa, xor_obfuscation
from skrkit.sandbox.vtpm.codes import Alg, Rc, TpmError
from skrkit.sandbox.vtpm.sessions import Session


def _content(parameters: bytes) -> int:
    size = int.from_bytes(parameters[:2], "big")
    if len(parameters) < 2:
        raise TpmError(Rc.INSUFFICIENT)
    if size > len(parameters) - 2:
        raise TpmError(Rc.SIZE)
    return size


def _apply(session: Session, newer: bytes, older: bytes, extra: bytes, parameters: bytes, *, decrypt: bool) -> bytes:
    """Return the parameters with the content of the first TPM2B en- or decrypted; its length stays in the clear."""
    end = 2 + _content(parameters)
    data, symmetric, key = parameters[2:end], session.symmetric, session.key + extra
    if not data:
        return parameters
    if symmetric.alg == Alg.XOR:
        mixed = xor_obfuscation(symmetric.bits, key, newer, older, data)
    else:
        size = symmetric.bits // 8
        material = kdfa(session.hash_alg, key, b"CFB", newer, older, symmetric.bits + 128)
        mixed = cfb(material[:size], material[size:], data, decrypt=decrypt)
    return parameters[:2] + mixed + parameters[end:]


def decrypt_parameter(session: Session, nonce_caller: bytes, extra: bytes, parameters: bytes) -> bytes:
    """Return a command's parameters with the first one in the clear."""
    return _apply(session, nonce_caller, session.nonce_tpm, extra, parameters, decrypt=True)


def encrypt_parameter(session: Session, nonce_caller: bytes, extra: bytes, parameters: bytes) -> bytes:
    """Return a response's parameters with the first one encrypted."""
    return _apply(session, session.nonce_tpm, nonce_caller, extra, parameters, decrypt=False)
