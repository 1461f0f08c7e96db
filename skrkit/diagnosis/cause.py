"""A cause of a failed release: what is wrong, what the service says then, and what mends it. Rows of one catalogue."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from enum import Enum

from skrkit.wire import Json

OFF = "skrkit sandbox fault --off {cause}"  # how the sandbox mends a fault that somebody switched on


class Leg(Enum):
    """Where on its way a release broke, in the order in which a release passes the legs."""

    MACHINE = "machine"  # not a confidential VM, no vTPM, no permission
    IDENTITY = "identity"  # IMDS and the managed identity
    NETWORK = "network"  # names, connections, TLS, proxies, firewalls, throttling
    EVIDENCE = "evidence"  # report, certificates, quote, event log: what Azure Attestation refuses
    TOKEN = "token"  # noqa: S105 - the attestation token: signature, issuer, times, binding
    ACCESS_TOKEN = "access-token"  # noqa: S105 - the caller's token at Key Vault
    ACCESS = "access"  # permissions, roles, the vault's firewall
    KEY = "key"  # the key: there, enabled, exportable, of this version
    POLICY = "policy"  # the token's claims against the release policy
    RESPONSE = "response"  # what the vault sent back, and the unwrapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One row of the catalogue.

    `id` is stable: leg or group, a dot, a name ("key.disabled"). `symptom` is what the service or client says, to the
    letter where it is known. `why` is the cause in a sentence or two. `fix` is what to do, a sentence; `command` is a
    command that does it in Azure, with {vault}, {key}, {vm}, {resource_group}, {object_id} and the like in braces, or
    empty; `mend` is the skrkit command that mends the sandbox's fault of this name while that one is on.
    `source` is the public document that says so; `inferred` marks what no document says.
    """

    id: str
    leg: Leg
    title: str
    symptom: str
    why: str
    fix: str
    command: str = ""
    mend: str = ""
    source: str
    inferred: bool = False

    def command_for(self, faults: Container[str]) -> str:
        """Return the command that mends it where these faults of the sandbox are on; elsewhere none is.

        The same state made by hand is no fault that could be switched off: the Azure command mends it, there as well.
        """
        return self.mend if self.mend and self.id in faults else self.command

    def to_json(self) -> dict[str, Json]:
        """Return the row as JSON members; an empty command or mend is left out."""
        members: dict[str, Json] = {
            "id": self.id,
            "leg": self.leg.value,
            "title": self.title,
            "symptom": self.symptom,
            "why": self.why,
            "fix": self.fix,
            "source": self.source,
            "inferred": self.inferred,
        }
        for name, value in (("command", self.command), ("mend", self.mend)):
            if value:
                members[name] = value
        return members
