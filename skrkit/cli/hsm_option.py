"""`--hsm`, the same for every command: a Managed HSM has the keys, and not the vault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

SANDBOX_HSM = "skrkit-hsm"  # where --hsm has no name; Azure asks for one


def add_hsm(names: Any) -> None:
    """Add the option to a parser, or to a group of its options."""
    names.add_argument(
        "--hsm", metavar="NAME", nargs="?", const="", help="a Managed HSM, which then has the keys and not the vault"
    )


def hsm_of(arguments: argparse.Namespace) -> str:
    """Return the name of the Managed HSM that was asked for, by default the sandbox's; empty without the option."""
    return "" if arguments.hsm is None else arguments.hsm or SANDBOX_HSM
