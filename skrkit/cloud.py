"""The switch between two worlds: the sandbox and Azure. Every service client takes a `Cloud` and cannot tell which.

`connect()` gives the sandbox, `connect("azure")` the real cloud. `Cloud.enter(vm)` is the same world seen from inside
a confidential VM: its managed identity, its IMDS, its vTPM. Only this file reaches the sandbox, and only when asked.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from skrkit.endpoints import PUBLIC, Endpoints, chosen_endpoints
from skrkit.errors import ServiceError, UsageError

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.pipeline.transport import HttpTransport
    from cryptography import x509

    from skrkit.endorsements.roots import TrustRoots
    from skrkit.tpm.client import Exchange, Tpm

World = Literal["sandbox", "azure"]

LINUX_TPM = "/dev/tpmrm0"
LINUX_EVENT_LOG = Path("/sys/kernel/security/tpm0/binary_bios_measurements")
MAX_EVENT_LOG_BYTES = 1 << 20  # a real log is 30 to 60 kB
# Set on App Service, Azure ML, Cloud Shell or Kubernetes, where azure-identity takes them for the place to ask.
NOT_IMDS = ("IDENTITY_ENDPOINT", "MSI_ENDPOINT", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_POD_IDENTITY_AUTHORITY_HOST")


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityChoice:
    """Which of a VM's managed identities a program asks IMDS for, by one of its three ids.

    `resource_id` is a user-assigned identity's. Raises `UsageError` unless exactly one is given.
    """

    client_id: str = ""
    object_id: str = ""
    resource_id: str = ""

    def __post_init__(self) -> None:
        """Refuse what names no identity, or might name two."""
        given = [name for name in self.__slots__ if getattr(self, name)]
        if len(given) != 1:
            raise UsageError(
                what="choice of a managed identity",
                where="IdentityChoice",
                expected="one of client_id, object_id and resource_id",
                found=", ".join(given) or "none of them",
                fix='IdentityChoice(client_id="…"), or no choice at all for the identity that IMDS takes by itself',
            )

    def query(self) -> dict[str, str]:
        """Return the parameter of a token request to IMDS that makes this choice."""
        if self.resource_id:
            return {"msi_res_id": self.resource_id}
        return {"client_id": self.client_id} if self.client_id else {"object_id": self.object_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """One world, from one place in it. Made by `connect`, `Cloud.azure` or `Cloud.sandbox`, and by `enter`.

    `vm` is the machine whose inside this is, or None outside; `identity` is which of its identities programs there ask
    for, None for the one that IMDS takes by itself. `operator` is the object id of who prepares the keys.
    `tpm_spec` is what `open_transport` takes. `settings` go to every azure-core client ("retry_total"), and
    `make_transport` makes its transport out of the options, where a client brings none of its own. `now` is the
    world's clock, and `make_nonce` gives 32 random hex characters: a sandbox with a clock and a seed has its own.
    `read_faults` gives the names of the faults that are on in the sandbox; Azure has none.
    """

    world: World
    tenant: str
    subscription: str
    operator: str = ""
    endpoints: Endpoints = PUBLIC
    vm: str | None = None
    identity: IdentityChoice | None = None
    proxy: str | None = None
    ca_file: Path | None = None
    tpm_spec: str = ""
    event_log: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    make_transport: Callable[[dict[str, Any]], HttpTransport[Any, Any]] | None = field(default=None, repr=False)
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC), repr=False)
    make_nonce: Callable[[], str] = field(default=lambda: secrets.token_hex(16), repr=False)
    make_credential: Callable[[dict[str, Any]], TokenCredential] = field(repr=False)
    enter_vm: Callable[[Cloud, str], Cloud] = field(repr=False)
    load_amd_roots: Callable[[], TrustRoots] = field(repr=False)
    read_faults: Callable[[], tuple[str, ...]] = field(default=tuple, repr=False)

    @classmethod
    def sandbox(cls, *, home: Path | None = None, as_operator: bool = False) -> Cloud:
        """Return the sandbox, started if it does not run, seen by the operator. Needs no account.

        In an environment that `skrkit sandbox principal create` printed, it is seen by that principal, but for
        `as_operator`.
        """
        from skrkit.sandbox.client import sandbox_cloud

        made: Cloud = sandbox_cloud(cls, home, as_operator=as_operator)
        return made

    @classmethod
    def azure(cls, *, tenant: str = "", subscription: str = "", name: str = "") -> Cloud:
        """Return real Azure. Reads AZURE_TENANT_ID, AZURE_SUBSCRIPTION_ID and AZURE_CLOUD_NAME where not given.

        `name` is the cloud's, as the Azure CLI has it: AzureCloud (the public one, if nothing names another),
        AzureUSGovernment, AzureChinaCloud.
        Outside a CVM the credential is `DefaultAzureCredential`; inside (`enter`), the VM's managed identity.
        """
        chosen = tenant or os.environ.get("AZURE_TENANT_ID", "")
        endpoints = chosen_endpoints(name)
        return cls(
            world="azure",
            endpoints=endpoints,
            tenant=chosen,
            subscription=subscription or os.environ.get("AZURE_SUBSCRIPTION_ID", ""),
            make_credential=lambda options: _operator({"authority": endpoints.login, **options}, chosen),
            enter_vm=_enter_this_machine,
            load_amd_roots=_amd_roots,
        )

    def enter(self, vm: str, *, resource_group: str = "", identity: IdentityChoice | None = None) -> Cloud:
        """Return this world seen from inside the VM, as its managed identity: the one that `identity` names.

        Without it that is the one that IMDS takes by itself: the system-assigned one, or else the only one.
        `resource_group` is asked for where VMs of several groups have the name.
        In Azure that must be this machine: `UsageError` where it has no vTPM. That its name is `vm` is not asked here,
        because only IMDS knows it (`services.imds.check_machine`).
        """
        return replace(
            self.enter_vm(self, f"{resource_group}/{vm}" if resource_group else vm),
            vm=vm,
            identity=identity,
            make_credential=lambda options: _managed_identity(options, identity),
        )

    def credential(self, transport: HttpTransport[Any, Any] | None = None) -> TokenCredential:
        """Return a credential of the operator, or of the VM's managed identity inside one."""
        return self.make_credential(self.client_options(transport))

    def client_options(self, transport: HttpTransport[Any, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Return the keyword arguments that direct any azure-core client into this world; none for Azure itself.

        `more` are the client's own, and win.
        """
        options: dict[str, Any] = {**self.transport_options(), **self.settings, **more}
        if transport is None and self.make_transport is not None:
            transport = self.make_transport(options)
        if transport is not None:
            options["transport"] = transport
        if self.proxy:
            options["proxies"] = {"http": self.proxy, "https": self.proxy}
        return options

    def transport_options(self) -> dict[str, Any]:
        """Return the part of them that a transport takes, which azure-core passes on only to one of its own making."""
        options: dict[str, Any] = {}
        if self.proxy:
            options["use_env_settings"] = False
        if self.ca_file:
            options["connection_verify"] = str(self.ca_file)
        return options

    def amd_roots(self) -> TrustRoots:
        """Return the AMD roots that evidence of this world is held against: AMD's own, or the sandbox's."""
        return self.load_amd_roots()

    def release_roots(self) -> Sequence[x509.Certificate]:
        """Return the certificates that may stand at the top of a release response's `x5c`.

        The sandbox's private CA, or what this system trusts. Raises `ServiceError` if the system's file is not found.
        """
        from cryptography import x509

        path = self.ca_file or _system_ca_file()
        return x509.load_pem_x509_certificates(path.read_bytes())

    def open_tpm(self, *, on_exchange: Callable[[Exchange], None] | None = None) -> Tpm:
        """Return a client of this VM's vTPM. Raises `UsageError` outside a VM."""
        from skrkit.tpm.client import Tpm
        from skrkit.tpm.transport import open_transport

        if not self.tpm_spec:
            raise _outside("the vTPM")
        return Tpm(open_transport(self.tpm_spec), on_exchange=on_exchange)

    def read_event_log(self) -> bytes:
        """Return the TCG boot event log as the kernel gives it. Raises `UsageError` outside a VM or without rights."""
        if self.event_log is None:
            raise _outside("the boot event log")
        try:
            with self.event_log.open("rb") as log:
                return log.read(MAX_EVENT_LOG_BYTES)
        except OSError as cause:
            raise UsageError(
                what="boot event log",
                where=str(self.event_log),
                expected="a readable file",
                found=str(cause.strerror),
                fix="Run as root: the kernel shows this log to nobody else.",
            ) from cause


def connect(world: World = "sandbox") -> Cloud:
    """Return the sandbox, or the real cloud for "azure". Raises `UsageError` for any other word."""
    if world == "sandbox":
        return Cloud.sandbox()
    if world == "azure":
        return Cloud.azure()
    raise UsageError(
        what="cloud", where="connect()", expected='"sandbox" or "azure"', found=repr(world), fix='connect("sandbox")'
    )


def _outside(wanted: str) -> UsageError:
    return UsageError(
        what=wanted,
        where="this side of the cloud",
        expected="to be inside a confidential VM",
        found="outside of one",
        fix='Use cloud.enter("<vm name>"), or run step 4 inside the VM itself.',
    )


def _amd_roots() -> TrustRoots:
    from skrkit.endorsements.roots import AMD_ROOTS

    return AMD_ROOTS


@dataclass(frozen=True, slots=True)
class _OfTenant:
    """A credential whose tokens are of one tenant: `DefaultAzureCredential` takes a tenant by request alone."""

    inner: Any = field(repr=False)
    tenant: str

    def get_token(self, *scopes: str, tenant_id: str | None = None, **options: Any) -> Any:
        return self.inner.get_token(*scopes, tenant_id=tenant_id or self.tenant, **options)

    def get_token_info(self, *scopes: str, options: Any = None) -> Any:
        return self.inner.get_token_info(*scopes, options={"tenant_id": self.tenant, **(options or {})})


def _operator(options: dict[str, Any], tenant: str) -> TokenCredential:
    from azure.identity import DefaultAzureCredential

    allowed = [tenant] if tenant else []
    credential = DefaultAzureCredential(additionally_allowed_tenants=allowed, **options)
    return _OfTenant(credential, tenant) if tenant else credential


def _managed_identity(options: dict[str, Any], choice: IdentityChoice | None) -> TokenCredential:
    """Return the credential of the VM that this code runs in. Raises `UsageError` if the environment names another."""
    from azure.identity import ManagedIdentityCredential

    for name in NOT_IMDS:
        if os.environ.get(name):
            raise UsageError(
                what="managed identity",
                where=f"environment variable {name}",
                expected="nothing: a VM's identity comes from IMDS",
                found="an address or file, which azure-identity would ask instead",
                fix=f"unset {name}   (in a notebook: del os.environ['{name}'])",
            )
    if choice is None:
        return ManagedIdentityCredential(**options)
    if choice.client_id:
        return ManagedIdentityCredential(client_id=choice.client_id, **options)
    # azure-identity ignores a key that it does not know, and asks for the default identity: these two it knows.
    chosen = {"object_id": choice.object_id} if choice.object_id else {"resource_id": choice.resource_id}
    return ManagedIdentityCredential(identity_config=chosen, **options)


def _enter_this_machine(cloud: Cloud, vm: str) -> Cloud:
    on_windows = os.name == "nt"
    if not on_windows and not Path(LINUX_TPM).exists():
        raise UsageError(
            what="the vTPM",
            where=LINUX_TPM,
            expected="the device of an Azure confidential VM",
            found="no such device: this machine is not the VM, or has no vTPM",
            fix=f"Copy skrkit into {vm.rpartition('/')[2]} and run the same command there, as root, with --step 4. "
            "From here, --remote sends step 4 there by run command, and --step 3 takes the steps before it.",
        )
    return replace(
        cloud,
        tpm_spec="tbs:" if on_windows else f"device:{LINUX_TPM}",
        event_log=None if on_windows else LINUX_EVENT_LOG,
    )


def _system_ca_file() -> Path:
    import ssl

    paths = ssl.get_default_verify_paths()
    for candidate in (paths.cafile, paths.openssl_cafile, "/etc/ssl/certs/ca-certificates.crt"):
        if candidate and Path(candidate).is_file():
            return Path(candidate)
    raise ServiceError(
        what="trusted certificates",
        where="this system",
        expected="a PEM file of certificate authorities",
        found="none",
        fix="Set SSL_CERT_FILE to your system's bundle of certificate authorities.",
    )
