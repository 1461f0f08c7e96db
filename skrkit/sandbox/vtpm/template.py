"""What a template must keep to before a key is made or loaded: attributes that fit together, schemes that fit those.

Source: TCG TPM 2.0 Library, part 1 clause 25 (Object Structure Elements) and part 3, TPM2_Create, table of errors.
"""

from __future__ import annotations

from skrkit.sandbox.vtpm.algorithms import digest_size
from skrkit.sandbox.vtpm.codes import (
    DECRYPT,
    ENCRYPTED_DUPLICATION,
    FIXED_PARENT,
    FIXED_TPM,
    RESTRICTED,
    SENSITIVE_DATA_ORIGIN,
    SIGN,
    Alg,
    Rc,
    TpmError,
)
from skrkit.sandbox.vtpm.structures import DECRYPT_SCHEMES, SIGN_SCHEMES, PublicArea

STORAGE = RESTRICTED | DECRYPT


def check_creation(area: PublicArea, data: bytes, parent: PublicArea | None) -> None:
    """Return nothing if a key may be made from the template; raise `TpmError` without a parameter number if not.

    `data` is the sensitive data of the caller, which an asymmetric key cannot have. `parent` is None for a primary.
    """
    origin = area.has(SENSITIVE_DATA_ORIGIN)
    if (not origin and not data) or (parent is not None and origin and data) or not origin:
        raise TpmError(Rc.ATTRIBUTES)
    check_attributes(area, parent)


def check_attributes(area: PublicArea, parent: PublicArea | None) -> None:
    """Return nothing if the public area is sound by itself and under `parent`; raise `TpmError` if not."""
    if area.name_alg == Alg.NULL:
        raise TpmError(Rc.HASH)
    if area.policy and len(area.policy) != digest_size(area.name_alg):
        raise TpmError(Rc.SIZE)
    if parent is None or parent.has(FIXED_TPM):
        if area.has(FIXED_PARENT) != area.has(FIXED_TPM):
            raise TpmError(Rc.ATTRIBUTES)
    elif area.has(FIXED_TPM) or area.has(ENCRYPTED_DUPLICATION) != parent.has(ENCRYPTED_DUPLICATION):
        raise TpmError(Rc.ATTRIBUTES)
    if area.has(SIGN) == area.has(DECRYPT) and (area.has(RESTRICTED) or not area.has(SIGN)):
        raise TpmError(Rc.ATTRIBUTES)
    if area.has(FIXED_TPM) and area.has(ENCRYPTED_DUPLICATION):
        raise TpmError(Rc.ATTRIBUTES)
    check_schemes(area, parent)


def check_schemes(area: PublicArea, parent: PublicArea | None) -> None:
    """Return nothing if scheme and symmetric algorithm fit the attributes; raise `TpmError` if not."""
    if not _scheme_fits(area):
        raise TpmError(Rc.SCHEME)
    if not area.has(STORAGE):
        if area.symmetric.alg != Alg.NULL:
            raise TpmError(Rc.SYMMETRIC)
        return
    if area.symmetric.alg == Alg.NULL:
        raise TpmError(Rc.SYMMETRIC)
    if parent is not None and area.has(FIXED_PARENT):
        if area.name_alg != parent.name_alg:
            raise TpmError(Rc.HASH)
        if area.symmetric != parent.symmetric:
            raise TpmError(Rc.SYMMETRIC)


def _scheme_fits(area: PublicArea) -> bool:
    scheme = area.scheme.alg
    if area.has(SIGN) == area.has(DECRYPT):
        return scheme == Alg.NULL
    if area.has(SIGN):
        return scheme in SIGN_SCHEMES[Alg(area.type)] or (scheme == Alg.NULL and not area.has(RESTRICTED))
    if area.has(RESTRICTED):
        return scheme == Alg.NULL
    return scheme == Alg.NULL or scheme in DECRYPT_SCHEMES[Alg(area.type)]
