"""Commands sent and answers taken: retries, refusals by name, and an observer that sees the bytes of each exchange."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from skrkit.errors import ServiceError
from skrkit.tpm import commands
from skrkit.tpm.algorithms import TpmCursor
from skrkit.tpm.commands import Command
from skrkit.tpm.rc import RETRYABLE, SUCCESS, decode_rc
from skrkit.tpm.transport import Transport

ATTEMPTS = 6  # for TPM_RC_RETRY and its like, which say that nothing was done
RETRY_WAIT_S = 0.005  # doubled each time: 155 ms in all


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One command and its response, as the transport carried them. `ms` is the wall time between the two.

    `repr` shows sizes only: a response may hold a decrypted key.
    """

    name: str
    command: bytes
    response: bytes
    ms: float

    @property
    def holds_secret(self) -> bool:
        """Whether the response is a decrypted secret, not to be shown unless asked for."""
        return self.name == Command.RSA_Decrypt.label

    def __repr__(self) -> str:
        sizes = f"{len(self.command)} bytes out, {len(self.response)} bytes back"
        return f"Exchange({self.name}, {sizes}, {self.ms:.2f} ms)"


@dataclass(frozen=True, slots=True)
class Channel:
    """A transport and its observer."""

    transport: Transport
    on_exchange: Callable[[Exchange], None] | None = None

    def run(
        self,
        code: Command,
        *,
        handles: Sequence[int] = (),
        auth: int = 0,
        sessions: Sequence[bytes] = (),
        parameters: bytes = b"",
        with_handle: bool = False,
        where: str,
    ) -> tuple[int, TpmCursor]:
        """Return the handle (0 without one) and a cursor over the parameters of a command's successful response.

        `auth` is the number of empty-password authorisations, unless `sessions` are given. Raises `ServiceError` if
        the TPM refuses (`code` is the TPM_RC's name), `ParseError` if its answer is malformed.
        """
        areas = sessions or (commands.authorisation(),) * auth
        command = commands.frame(code, handles, areas, parameters)
        response = self._send(code, command, where)
        number = commands.response_code(response, code.label, where)
        if number != SUCCESS:
            raise _refused(code, number, where)
        return commands.unpack(response, code.label, with_handle=with_handle, with_sessions=bool(areas))

    def _send(self, code: Command, command: bytes, where: str) -> bytes:
        response = b""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(RETRY_WAIT_S * (1 << (attempt - 1)))
            before = time.perf_counter()
            response = self.transport.transceive(command)
            took = (time.perf_counter() - before) * 1000
            if self.on_exchange is not None:
                self.on_exchange(Exchange(name=code.label, command=command, response=response, ms=took))
            if commands.response_code(response, code.label, where) not in RETRYABLE:
                break
        return response


def _refused(code: Command, number: int, where: str) -> ServiceError:
    decoded = decode_rc(number)
    return ServiceError(
        what=code.label,
        where=where,
        expected="TPM_RC_SUCCESS",
        found=str(decoded),
        fix=decoded.fix(code.label),
        source=commands.SOURCE,
        code=decoded.name,
    )


def odd(code: Command, where: str, *, expected: str, found: str) -> ServiceError:
    """Return the error about a successful answer that makes no sense, for the caller to raise."""
    fix = "Try again; if it stays so, look at the exchange's bytes."
    return ServiceError(what=code.label, where=where, expected=expected, found=found, fix=fix, source=commands.SOURCE)
