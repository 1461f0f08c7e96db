"""A case as the recognisers read it: each part decoded once, when asked for, and findings in this case's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from skrkit.diagnosis.case import Case
from skrkit.diagnosis.catalogue import cause_named
from skrkit.diagnosis.finding import Certainty, Finding
from skrkit.diagnosis.refusal import Refusal, service_time
from skrkit.errors import SkrkitError
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.attestation.result import AttestationResult
    from skrkit.policy.evaluate import Decision
    from skrkit.policy.model import ReleasePolicy
    from skrkit.token.decode import UnverifiedToken
    from skrkit.token.jwks import Jwks

TEE = "x-ms-isolation-tee"
_PLAIN = r"[A-Za-z0-9._:/@%+=-]{1,300}"
_CALLER = r"\boid=([0-9A-Fa-f-]{36})\b"
_KEY = r"/keys/([A-Za-z0-9-]{1,127})(?:/|$)"
_ADDRESS = r"Client address: ([0-9A-Fa-f.:]{3,45})\b"


class Reading:
    """One case, read. What does not parse is None here; the recogniser of its leg says what is wrong with it."""

    def __init__(self, case: Case, refusal: Refusal) -> None:
        self.case = case
        self.refusal = refusal

    @cached_property
    def token(self) -> UnverifiedToken | None:
        """The attestation token, decoded and not verified."""
        from skrkit.diagnosis.verification import decoded_token

        return decoded_token(self.case)

    @property
    def claims(self) -> Mapping[str, Json]:
        """The claims of the attestation token, of the token itself where it is there."""
        return self.token.claims if self.token is not None else self.case.claims

    @property
    def header(self) -> Mapping[str, Json]:
        """The header of the attestation token."""
        return self.token.header if self.token is not None else self.case.token_header

    @cached_property
    def jwks(self) -> Jwks | None:
        """The keys of the configured provider."""
        if not self.case.jwks:
            return None
        from skrkit.token.jwks import parse_jwks

        try:
            return parse_jwks(self.case.jwks)
        except SkrkitError:
            return None

    @cached_property
    def policy(self) -> ReleasePolicy | None:
        """The key's release policy."""
        if not self.case.policy:
            return None
        from skrkit.policy.parse import parse_policy

        try:
            return parse_policy(self.case.policy)
        except SkrkitError:
            return None

    @cached_property
    def decision(self) -> Decision | None:
        """What the policy says of the claims; None where one of the two is not known."""
        if self.policy is None or not self.claims:
            return None
        from skrkit.policy.evaluate import evaluate

        return evaluate(self.policy, self.claims)

    @cached_property
    def verified(self) -> AttestationResult | None:
        """What the local verifier says of the evidence; None where it cannot be run."""
        from skrkit.diagnosis.verification import verified_evidence

        return verified_evidence(self.case)

    @cached_property
    def service_time(self) -> datetime | None:
        """The clock of the services: the Date of the last answer that has one."""
        return service_time(self.case)

    def part(self, whole: Mapping[str, Json], *names: str) -> Json:
        """Return a member of a member, None where one of them is not there or no object."""
        value: Json | Mapping[str, Json] = whole
        for name in names:
            if not isinstance(value, Mapping):
                return None
            value = value.get(name)
        return dict(value) if isinstance(value, Mapping) else value

    @property
    def reads_key(self) -> bool:
        """Whether what was refused was to read a key: by the VM, or by who prepared the release."""
        return self.refusal.method == "GET" and "/keys/" in self.refusal.url

    @property
    def in_hsm(self) -> bool:
        """Whether what was asked for a key is a Managed HSM."""
        return "hsm" in (self.refusal.service, *(exchange.service for exchange in self.case.exchanges))

    @cached_property
    def names(self) -> dict[str, str]:
        """The names of this case for commands. Only plain ones: a command is pasted into a shell."""
        case, words = self.case, self.refusal.words
        vault_id = case.vault.get("id")
        known: dict[str, Json] = {
            "vault": case.vault.get("name") or _vault_name(self.refusal),
            "vault_id": vault_id,
            "key": _first(_KEY, self.refusal.url),
            "vm": case.vm.get("name"),
            "resource_group": _resource_group(vault_id) or _resource_group(case.vm.get("id")),
            "location": case.vault.get("location") or case.vm.get("location"),
            "tenant": self.part(case.vault, "properties", "tenantId") or case.access_token.get("tid"),
            "object_id": case.access_token.get("oid"),
            "address": _first(_ADDRESS, words),
            "authority": case.authority or self.claims.get("iss"),
            **{name: value for name, value in case.asked.items() if value},
        }
        refused = _first(_CALLER, words)  # whom the service refused, which may be another than the VM
        if refused or self.reads_key:
            known["object_id"] = refused
        return {name: value for name, value in known.items() if isinstance(value, str) and re.fullmatch(_PLAIN, value)}

    def find(
        self,
        cause: str,
        certainty: Certainty,
        *,
        expected: str,
        found: str,
        where: str = "",
        evidence: tuple[str, ...] = (),
    ) -> Finding:
        """Return a finding whose command is in this case's names; a name that is not known stands in capitals."""
        row = cause_named(cause)
        names = _Names(self.names | {"cause": cause})
        return Finding(
            cause=row,
            certainty=certainty,
            where=where or self.refusal.where,
            expected=expected,
            found=found,
            evidence=evidence,
            fix=row.fix,
            command=self._of_holder(row.command_for(self.case.faults).format_map(names)),
        )

    def _of_holder(self, command: str) -> str:
        """Return a command for a key with the Azure CLI's option for a Managed HSM, where that has the key."""
        return command.replace("--vault-name ", "--hsm-name ") if self.in_hsm else command


class _Names(dict[str, str]):
    """Names for a template; one that is not known becomes its own in capitals, VAULT."""

    def __missing__(self, name: str) -> str:
        return name.upper()


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found.group(1) if found else ""


def _vault_name(refusal: Refusal) -> str:
    return refusal.host.partition(".")[0] if refusal.service in ("vault", "hsm") else ""


def _resource_group(resource_id: Json) -> str:
    parts = resource_id.split("/") if isinstance(resource_id, str) else []
    lowered = [part.lower() for part in parts]
    at = lowered.index("resourcegroups") + 1 if "resourcegroups" in lowered else len(parts)
    return parts[at] if at < len(parts) else ""
