"""One visit of the doctor: where it looks, on whose behalf, and what its checks have learnt so far."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from skrkit.doctor.check import Check, Outcome, failed
from skrkit.doctor.gather import FoundKey
from skrkit.errors import ServiceError, SkrkitError, UsageError

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.diagnosis.case import Case
    from skrkit.doctor.host import Host
    from skrkit.evidence.hcl import HclReport
    from skrkit.services.attester import Attester
    from skrkit.services.reader import Reader
    from skrkit.services.recording import HttpExchange
    from skrkit.token.verify import VerifiedToken
    from skrkit.wire import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the visit is about. An empty name was not given, and what asks for it is skipped."""

    resource_group: str = ""
    vm: str = ""
    vault: str = ""
    key: str = ""
    attestation: str = ""
    hsm: str = ""  # a Managed HSM, which then has the key, and not the vault
    user_identity: str = ""  # of the VM's identities the one that it is to act as: a name or a resource id


@dataclass(slots=True, kw_only=True)
class Visit:
    """Where the checks look, and what they leave for those after them.

    `inside` is the cloud as the VM sees it, None where there is no vTPM to look at; `outside` is the operator's, None
    where nobody asked for that side; `anywhere` is what is left to a machine without a vTPM. `policy` is the key's
    release policy as text, for who may not read the key; `release` asks for a real release. `calm` means that nobody
    said this machine is a confidential VM: that it is none is then a fact and no failure. Use as a context manager:
    what was opened is closed at the end.
    """

    host: Host
    names: Names
    inside: Cloud | None = None
    outside: Cloud | None = None
    anywhere: Cloud | None = None
    policy: bytes = b""
    release: bool = False
    calm: bool = False
    exchanges: list[HttpExchange] = field(default_factory=list)
    issued: list[tuple[str, datetime]] = field(default_factory=list)  # who said what time it is, in a token of just now
    nonce: str = ""
    hcl: HclReport | None = None
    certificates: Mapping[str, str] = field(default_factory=dict)
    pcrs: Mapping[int, bytes] = field(default_factory=dict)
    event_log: bytes = field(default=b"", repr=False)
    quote: tuple[bytes, bytes] = (b"", b"")
    instance: Mapping[str, Json] = field(default_factory=dict)
    vault_token: str = field(default="", repr=False)
    access_token: Mapping[str, Json] = field(default_factory=dict)
    attested: VerifiedToken | None = None
    raw_token: bytes = field(default=b"", repr=False)
    evidence: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    vm: Mapping[str, Json] = field(default_factory=dict)
    vault: Mapping[str, Json] = field(default_factory=dict)
    key: Mapping[str, Json] = field(default_factory=dict)
    found: FoundKey = field(default_factory=FoundKey)
    jwks: bytes = b""
    _looked: bool = False
    _opened: ExitStack = field(default_factory=ExitStack, repr=False)
    _attester: Attester | None = field(default=None, repr=False)
    _reader: Reader | None = field(default=None, repr=False)

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *raised: object) -> None:
        with suppress(SkrkitError):  # what ended the visit counts, and a vTPM that is gone cannot be closed better
            self._opened.close()

    @property
    def vm_side(self) -> Cloud:
        """The cloud as the VM sees it. Raises `UsageError` where there is no vTPM."""
        if self.inside is None:
            raise _no_tpm()
        return self.inside

    @property
    def either_side(self) -> Cloud:
        """The cloud from inside where there is an inside, else from outside, else as any machine sees it."""
        found = self.inside or self.outside or self.anywhere
        if found is None:
            raise _no_tpm()
        return found

    @property
    def attester(self) -> Attester:
        """The open vTPM. Raises `ServiceError` or `UsageError` where it cannot be opened."""
        if self._attester is None:
            from skrkit.services.attester import Attester

            self._attester = self._opened.enter_context(Attester(self.vm_side))
        return self._attester

    @property
    def reader(self) -> Reader:
        """What reads resources as the operator. Its exchanges are recorded as the VM's are."""
        if self._reader is None:
            from skrkit.services.reader import Reader

            assert self.outside is not None, "only checks of the outer side ask"
            self._reader = self._opened.enter_context(Reader(self.heard(self.outside)))
        return self._reader

    def heard(self, cloud: Cloud) -> Cloud:
        """Return a cloud whose clients say what a service says now, and whose exchanges this visit keeps."""
        from skrkit.doctor.gather import AT_ONCE
        from skrkit.services.recording import recorded

        return recorded(replace(cloud, settings=AT_ONCE), self.exchanges.append)

    @property
    def holder(self) -> str:
        """What has the key, as a word in a sentence: "vault" or "Managed HSM"."""
        return "Managed HSM" if self.names.hsm else "vault"

    def vault_url(self) -> str:
        """Return the address of what has the key: the Managed HSM if there is one, else the vault."""
        endpoints, names = self.either_side.endpoints, self.names
        return endpoints.hsm_url(names.hsm) if names.hsm else endpoints.vault_url(names.vault)

    def vault_audience(self) -> str:
        """Return the host that an access token for what has the key is for."""
        endpoints = self.either_side.endpoints
        return endpoints.managedhsm_suffix if self.names.hsm else endpoints.vault_suffix

    def case(self, error: SkrkitError | None = None, *, since: int = 0) -> Case:
        """Return what this visit knows as a case: of `error`, with the exchanges from number `since` on."""
        from skrkit.diagnosis.case import Case
        from skrkit.diagnosis.refusal import KEY_READ
        from skrkit.doctor.gather import error_members, exchange_of

        cloud, heard = self.either_side, self.exchanges[since:]
        self._look_around()
        return Case(
            at=cloud.now(),
            error={} if error is None else error_members(error),
            exchanges=tuple(exchange_of(seen, cloud.endpoints) for seen in heard),
            access_token=self.access_token,
            token=self.raw_token,
            jwks=self.jwks,
            authority=self.names.attestation,
            policy=self.policy_known(),
            key=self.key or self.found.known,
            vault=self.vault,
            vm=self.vm,
            instance=self.instance,
            evidence=self.evidence,
            asked={name: value for name, value in self._asked().items() if value},
            machine={KEY_READ: dict(self.found.forbidden)} if self.found.forbidden else {},
            world=cloud.world,
            faults=cloud.read_faults(),
            amd_roots=cloud.amd_roots().ark if cloud.world == "sandbox" else {},
        )

    def policy_known(self) -> bytes:
        """Return the key's release policy: as the vault has it, else as it was given; empty where neither is known."""
        from skrkit.doctor.gather import policy_text

        return policy_text(self.key or self.found.known) or self.policy

    def _look_around(self) -> None:
        """Read, as the operator where there is one, what tells causes apart and was not read yet. Asked once."""
        if self.outside is None or self._looked:
            return
        from skrkit.doctor.gather import read_key
        from skrkit.services.reader import Reader

        self._looked = True
        names = self.names
        with Reader(self.heard(self.outside)) as reader:
            with suppress(SkrkitError):
                self.vm = self.vm or reader.vm(self.resource_id("Microsoft.Compute/virtualMachines", names.vm))
            if not names.hsm:
                with suppress(SkrkitError):
                    self.vault = self.vault or reader.vault(self.resource_id("Microsoft.KeyVault/vaults", names.vault))
            if (names.hsm or names.vault) and names.key:
                kind = "managedHSMs" if names.hsm else "vaults"
                holder_id = self.resource_id(f"Microsoft.KeyVault/{kind}", names.hsm or names.vault)
                self.found = read_key(reader, self.vault_url(), holder_id, names.key)

    def resource_id(self, kind: str, name: str) -> str:
        """Return the id of a resource of the resource group that was named."""
        group = f"/subscriptions/{self.either_side.subscription}/resourceGroups/{self.names.resource_group}"
        return f"{group}/providers/{kind}/{name}"

    def _asked(self) -> dict[str, str]:
        names = self.names
        return {
            "vault": names.hsm or names.vault,
            "key": names.key,
            "resource_group": names.resource_group,
            "vm": names.vm,
            "object_id": str(self.access_token.get("oid") or ""),
        }

    def failed_by(self, error: SkrkitError, heard: int) -> Outcome:
        """Return the failure that an error is, with the cause that the diagnosis names for it."""
        from skrkit.doctor.remedy import cause_of

        evidence = f"{error.what} at {error.where}: expected {error.expected}, found {error.found.rstrip('.')}."
        cause, fix = cause_of(error, self, heard)
        return failed(evidence, {"error": dict(error.to_json())}, fix=fix or error.fix, cause=cause)

    def too_slow(self, check: Check, heard: int) -> Outcome:
        """Return the failure of a check that had no answer within its limit."""
        error = ServiceError(
            what=check.title,
            where="the network",
            expected=f"an answer within {check.limit_s:g} s",
            found="none",
            fix="Check name resolution, routes, NSG and firewall to this service.",
            code="Timeout",
        )
        return self.failed_by(error, heard)

    def with_remedy(self, outcome: Outcome) -> Outcome:
        """Return an outcome that has a cause and no fix with the catalogue's."""
        if outcome.fix or not outcome.cause:
            return outcome
        from skrkit.doctor.remedy import remedy

        return replace(outcome, fix=remedy(outcome.cause, self))


def _no_tpm() -> UsageError:
    return UsageError(
        what="the vTPM",
        where="this machine",
        expected="a TPM device",
        found="none",
        fix="Run this inside the confidential VM.",
    )
