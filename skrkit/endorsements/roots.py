"""The trust anchors: AMD's root keys (ARK), one a product line, pinned by the digest of their public key.

A digest is a fact and needs no file. A root is trusted because its key is pinned here, never because it signs itself
or because of its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRoots:
    """Whose roots are trusted: `name` as results show it, and `ark`, product line to SHA-256 of the ARK's SPKI in hex.

    The SPKI is the DER of SubjectPublicKeyInfo as it stands in the certificate.
    """

    name: str
    ark: Mapping[str, str]

    def line_of(self, spki_sha256: str) -> str | None:
        """Return the product line whose root has this public key, or None when it is nobody's."""
        for line, pinned in self.ark.items():
            if pinned == spki_sha256:
                return line
        return None


# Equal in github.com/google/go-sev-guest, virtee/sev, confidential-containers/trustee and AMD's own chain files.
AMD_ROOTS = TrustRoots(
    name="AMD",
    ark=MappingProxyType(
        {
            "Milan": "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9",
            "Genoa": "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831",
            "Turin": "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08",
        }
    ),
)
