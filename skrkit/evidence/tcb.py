"""TCB_VERSION: the security patch levels of a processor's firmware, packed in 8 bytes by product line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import ClassVar

from skrkit.wire import Json

TCB_BYTES = 8
SOURCE = "AMD 56860, TCB_VERSION"


class Product(Enum):
    """A product line, by the name that AMD's key service uses. Bergamo and Siena are Genoa to it."""

    MILAN = "Milan"
    GENOA = "Genoa"
    TURIN = "Turin"


class TcbLayout(Enum):
    """Where each component stands in the 8 bytes, by product line."""

    CLASSIC = "Milan and Genoa"
    TURIN = "Turin"


LAYOUTS = MappingProxyType(
    {
        TcbLayout.CLASSIC: MappingProxyType({"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7}),
        TcbLayout.TURIN: MappingProxyType({"fmc": 0, "bootloader": 1, "tee": 2, "snp": 3, "microcode": 7}),
    }
)
COMPONENTS = ("fmc", "bootloader", "tee", "snp", "microcode")


def layout_of(product: Product) -> TcbLayout:
    """Return the TCB_VERSION layout of a product line."""
    return TcbLayout.TURIN if product is Product.TURIN else TcbLayout.CLASSIC


@dataclass(frozen=True, slots=True)
class Tcb:
    """A TCB_VERSION as it stands in a report: 8 bytes, little-endian, and the layout to read them with.

    Levels are 0 to 255, and higher is newer. Compare component by component, never as a number. With `layout` None
    (the product line is not known yet) there are no components: a wrong layout gives plausible numbers.
    Source: AMD 56860, TCB_VERSION.
    """

    raw: bytes
    layout: TcbLayout | None

    names: ClassVar[tuple[str, ...]] = COMPONENTS

    @property
    def components(self) -> dict[str, int]:
        """The level of each component that the layout has; empty without a layout."""
        if self.layout is None:
            return {}
        return {name: self.raw[at] for name, at in LAYOUTS[self.layout].items()}

    @property
    def reserved_nonzero(self) -> bool:
        """Whether a byte that the layout leaves reserved is set; false without a layout."""
        if self.layout is None:
            return False
        used = LAYOUTS[self.layout].values()
        return any(byte for at, byte in enumerate(self.raw) if at not in used)

    @property
    def hex(self) -> str:
        """The value as AMD and THIM's `tcbm` print it: a 64-bit number, 16 hex digits, lower case."""
        return self.raw[::-1].hex()

    def exceeds(self, other: Tcb) -> tuple[str, ...]:
        """Return the names of the bytes or components that are higher than in `other`; none if `self` <= `other`.

        Without a layout every byte is compared, which is as strict: the components are single bytes in each layout.
        """
        if self.raw == other.raw:
            return ()
        places = LAYOUTS[self.layout] if self.layout is not None else {f"byte {at}": at for at in range(TCB_BYTES)}
        return tuple(name for name, at in places.items() if self.raw[at] > other.raw[at])

    def to_json(self) -> dict[str, Json]:
        """Return the components, whether a reserved byte is set, and the 64-bit value in hex."""
        members: dict[str, Json] = dict(self.components)
        if self.layout is not None:
            members["reserved_nonzero"] = self.reserved_nonzero
        members["hex"] = self.hex
        return members

    def words(self) -> str:
        """Return the components in words, "bootloader 4, tee 0, snp 24, microcode 219", or the hex value."""
        return ", ".join(f"{name} {level}" for name, level in self.components.items()) or f"0x{self.hex}"
