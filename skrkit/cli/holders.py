"""`--holder`: who together can restore a Managed HSM, and the file that its security domain goes into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skrkit.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from cryptography import x509

    from skrkit.provision.deployment_hsm import Holders

_OPENSSL = "openssl req -newkey rsa:2048 -nodes -keyout holder1.key -x509 -days 365 -out holder1.cer   for each"


def add_holders(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command that activates a Managed HSM."""
    holders = parser.add_argument_group(
        "activation of a Managed HSM", "Without these it is left to you in Azure, and done for nobody in the sandbox."
    )
    holders.add_argument(
        "--holder", metavar="CERTIFICATE", type=Path, action="append", help="who can restore it; three to ten of these"
    )
    holders.add_argument("--quorum", metavar="N", type=int, default=2, help="so many of them it takes (default: 2)")
    holders.add_argument("--security-domain", metavar="FILE", type=Path, help="the new file that its domain goes into")


@contextmanager
def holders_of(arguments: argparse.Namespace) -> Iterator[Holders | None]:
    """Yield who holds the security domain, None without the option. The file is there before anything is asked.

    One that was not needed, since the HSM was active, is removed again. Raises `UsageError` for certificates that an
    HSM would not take, and for a file that is there already or cannot be made.
    """
    if not (arguments.holder or arguments.security_domain):
        yield None
        return
    from skrkit.provision.deployment_hsm import Holders
    from skrkit.services.security_domain import check_recipients

    path = arguments.security_domain
    if arguments.hsm is None or not (arguments.holder and path):
        raise _incomplete(arguments)
    certificates = tuple(_certificate(each) for each in arguments.holder)
    check_recipients(certificates, arguments.quorum)
    with _new_file(path) as file:

        def keep(domain: bytes) -> None:
            file.write(domain)
            file.flush()
            os.fsync(file.fileno())

        yield Holders(certificates=certificates, quorum=arguments.quorum, keep=keep)


def _incomplete(arguments: argparse.Namespace) -> UsageError:
    given = [f"--{name.replace('_', '-')}" for name in ("holder", "security_domain") if getattr(arguments, name)]
    return UsageError(
        what="activation of a Managed HSM",
        where="the command line",
        expected="--hsm, three or more --holder, and --security-domain",
        found=f"{' and '.join(given)}{'' if arguments.hsm is not None else ' without --hsm'}",
        fix="--hsm NAME --holder 1.cer --holder 2.cer --holder 3.cer --security-domain domain.json",
    )


def _certificate(path: Path) -> x509.Certificate:
    from cryptography import x509

    from skrkit.cli.reading import read_input

    data = read_input(str(path))
    try:
        return (
            x509.load_pem_x509_certificate(data) if data.startswith(b"-----") else x509.load_der_x509_certificate(data)
        )
    except ValueError as cause:
        raise UsageError(
            what="certificate of a holder",
            where=str(path),
            expected="an X.509 certificate, PEM or DER",
            found="something else" if b"PRIVATE KEY" not in data else "a private key",
            fix=_OPENSSL,
        ) from cause


@contextmanager
def _new_file(path: Path) -> Iterator[Any]:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as cause:
        raise UsageError(
            what="--security-domain",
            where=str(path),
            expected="a new file: who has the domain and a quorum of keys has the HSM",
            found=str(cause.strerror),
            fix="Choose another file, or move that one to a safe place.",
        ) from cause
    with os.fdopen(handle, "wb") as file:
        try:
            yield file
        finally:
            if not file.tell():
                path.unlink(missing_ok=True)
