"""The sandbox as a `Cloud`: where `skrkit.cloud` looks when it is asked for it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skrkit.errors import ServiceError
from skrkit.sandbox import chance
from skrkit.sandbox.endpoint import Endpoint
from skrkit.sandbox.environment import OBJECT_ID_VARIABLE, signed_in_as
from skrkit.sandbox.process import control, ensure_running, running

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

    from skrkit.endorsements.roots import TrustRoots

NONCE_BYTES = 16  # as `Cloud.make_nonce` has them
_KEYGEN_TIMEOUT_S = 60.0  # two RSA-4096 keys, if nobody asked before


def sandbox_cloud(cloud: type[Any], home: Path | None, *, as_operator: bool = False) -> Any:
    """Return a `cloud` of the sandbox, started if it does not run, seen by its operator.

    Where the environment signs in as another principal of this sandbox (`skrkit sandbox principal create`), it is that
    one's view, unless `as_operator`.
    """
    endpoint = ensure_running(home)
    caller = _operator_of(endpoint) if as_operator else _caller(endpoint)

    def enter(outside: Any, name: str) -> Any:
        # The endpoint file is read again: the VM may be younger than the view from outside.
        door = (running(endpoint.home) or endpoint).vm(name)
        return replace(
            outside,
            proxy=f"http://127.0.0.1:{door.proxy_port}",
            tpm_spec=door.tcti,
            event_log=Path(door.event_log),
        )

    return cloud(
        world="sandbox",
        tenant=endpoint.tenant,
        subscription=endpoint.subscription,
        operator=caller.object_id,
        **_moment(endpoint),
        proxy=endpoint.proxy_url,
        ca_file=endpoint.ca_file,
        make_credential=lambda options: _credential(endpoint, caller, options),
        enter_vm=enter,
        load_amd_roots=lambda: _roots(endpoint),
        read_faults=lambda: _faults_on(endpoint),
    )


def _moment(endpoint: Endpoint) -> dict[str, Any]:
    """Return the clock and the nonces of a sandbox that was made with a seed or a clock, for a view of it."""
    made = chance.asked(endpoint.seed, endpoint.clock)
    said: dict[str, Any] = {}
    if made.clock is not None:
        said["now"] = _of_this_program(made).now
    if made.seed is not None:
        said["make_nonce"] = lambda: _of_this_program(made).token_bytes("nonce", NONCE_BYTES).hex()
    return said


@cache
def _of_this_program(made: chance.Asked) -> chance.Chance:
    """Return what a program of the sandbox draws from: from the beginning in each, and never twice the same in one."""
    return chance.Chance(asked=made, epoch="client")


@dataclass(frozen=True, slots=True)
class _OneTenant:
    """A credential of the one tenant there is, whichever a client asks for.

    The Key Vault SDK keeps each vault's tenant for as long as Python runs; a reset gives the vault's name to another.
    """

    inner: Any = field(repr=False)

    def get_token(self, *scopes: str, tenant_id: str | None = None, **options: Any) -> Any:
        return self.inner.get_token(*scopes, **options)

    def get_token_info(self, *scopes: str, options: Any = None) -> Any:
        kept = {name: value for name, value in (options or {}).items() if name != "tenant_id"}
        return self.inner.get_token_info(*scopes, options=kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Caller:
    """Who signs in. The secret is shown to nobody."""

    object_id: str
    client_id: str
    secret: str = field(repr=False)


def _operator_of(endpoint: Endpoint) -> _Caller:
    return _Caller(object_id=endpoint.operator_oid, client_id=endpoint.client_id, secret=endpoint.client_secret)


def _caller(endpoint: Endpoint) -> _Caller:
    """Return the principal that the environment signs in as, if it is one of this sandbox; else the operator."""
    found = signed_in_as(endpoint, os.environ)
    if found is None:
        return _operator_of(endpoint)
    return _Caller(
        object_id=found[OBJECT_ID_VARIABLE], client_id=found["AZURE_CLIENT_ID"], secret=found["AZURE_CLIENT_SECRET"]
    )


def _credential(endpoint: Endpoint, caller: _Caller, options: dict[str, Any]) -> TokenCredential:
    from azure.identity import ClientSecretCredential

    # By name, or AZURE_AUTHORITY_HOST would choose the cloud.
    options = {"authority": "login.microsoftonline.com", **options}
    return _OneTenant(ClientSecretCredential(endpoint.tenant, caller.client_id, caller.secret, **options))


def _faults_on(endpoint: Endpoint) -> tuple[str, ...]:
    """Return the names of the faults that are on; none of a sandbox that does not answer."""
    told = control(endpoint, "GET", "/faults")
    return tuple(str(fault["name"]) for fault in told["faults"] if fault["on"]) if told else ()


def _roots(endpoint: Endpoint) -> TrustRoots:
    """Return the sandbox's AMD root, as its own process tells who has its secret. No product root trusts it."""
    from skrkit.endorsements.roots import TrustRoots

    ark = control(endpoint, "GET", "/roots", timeout=_KEYGEN_TIMEOUT_S)
    if ark is None:
        raise ServiceError(
            what="the sandbox's AMD root",
            where=endpoint.proxy_url,
            expected="an answer",
            found="none",
            fix="skrkit sandbox status   and, if it does not run, skrkit sandbox up",
        )
    return TrustRoots(name="sandbox", ark={str(line): str(digest) for line, digest in ark.items()})
