"""The shape of one entry in the claims catalogue."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from skrkit.wire import Json

ONLY_MAA = "only MAA knows"
"""The evidence of a claim that nobody but the service can compute again."""

_GUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_HEX = re.compile(r"[0-9A-Fa-f]*")


class ClaimType(Enum):
    """What a claim's value may be. Hex and GUID are texts of that form; case is not part of the type."""

    STRING = "string"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    OBJECT = "object"
    ARRAY = "array"
    HEX = "hex"
    GUID = "GUID"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class ClaimFact:
    """What is known of one claim.

    `path` has a dot between names; array places are left out. `evidence` names the field that the value is computed
    from, or is `ONLY_MAA`. `hex_digits` is the length of a hex text, 0 when it is free. `inferred`: what is said here
    of where it comes from is a conclusion, since the service is closed.
    """

    path: str
    type: ClaimType
    meaning: str
    evidence: str = ONLY_MAA
    hex_digits: int = 0
    inferred: bool = False

    def allows(self, value: Json) -> bool:
        """Return whether a value has the claim's type."""
        if self.type is ClaimType.ANY:
            return True
        if self.type is ClaimType.HEX:
            right = self.hex_digits or len(str(value))
            return isinstance(value, str) and len(value) == right and _HEX.fullmatch(value) is not None
        if self.type is ClaimType.GUID:
            return isinstance(value, str) and _GUID.fullmatch(value) is not None
        if self.type is ClaimType.INTEGER:
            return isinstance(value, int) and not isinstance(value, bool)
        return isinstance(value, _PYTHON[self.type])


_PYTHON: dict[ClaimType, type] = {
    ClaimType.STRING: str,
    ClaimType.BOOLEAN: bool,
    ClaimType.OBJECT: dict,
    ClaimType.ARRAY: list,
}
