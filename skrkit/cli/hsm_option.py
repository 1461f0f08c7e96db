"""`--hsm`, the same for every command: a Managed HSM has the keys, and not the vault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skrkit.errors import UsageError

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


def check_named(arguments: argparse.Namespace) -> None:
    """Return nothing if a Managed HSM has a name, or none was asked for. Raises `UsageError`: Azure wants a name."""
    if arguments.hsm == "":
        raise UsageError(
            what="Managed HSM",
            where="--hsm",
            expected="its name: the sandbox alone has one by default",
            found="--hsm without a name",
            fix="Name it: --hsm NAME",
        )
