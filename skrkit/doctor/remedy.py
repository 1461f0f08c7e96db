"""From a failure to its cause and what mends it: the diagnosis names the cause, the catalogue words the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skrkit.errors import ServiceError, SkrkitError

if TYPE_CHECKING:
    from skrkit.diagnosis.case import Case
    from skrkit.doctor.visit import Visit

# What a vTPM's refusal is evidence for, by TPM_RC.
_TPM_CAUSES = {"TPM_RC_LOCKOUT": "machine.tpm-locked"}


def cause_of(error: SkrkitError, visit: Visit, heard: int) -> tuple[str, str]:
    """Return the id of the cause that the diagnosis names first for an error, and its fix; empty texts without one.

    `heard` is the number of exchanges before the check: those after it are what the diagnosis looks at.
    """
    if isinstance(error, ServiceError) and error.code in _TPM_CAUSES:
        cause = _TPM_CAUSES[error.code]
        return cause, remedy(cause, visit)
    return _first(visit.case(error, since=heard))


def cause_shown(visit: Visit) -> tuple[str, str]:
    """Return the cause, and its fix, that the evidence read so far shows by itself; empty texts without one."""
    return _first(visit.case(since=len(visit.exchanges)))


def _first(case: Case) -> tuple[str, str]:
    from skrkit.diagnosis.explain import explain

    findings = explain(case).findings
    if not findings:
        return "", ""
    first = findings[0]
    if first.certainty == "possible":  # it would look like this, and so would others: no name is given to it
        return "", f"Not known for sure. Possible: {', '.join(found.cause.id for found in findings[:3])}."
    return first.cause.id, first.command or first.fix or first.cause.fix


def remedy(cause_id: str, visit: Visit) -> str:
    """Return what mends a cause: the catalogue's command with this visit's names in it, else its sentence."""
    from skrkit.diagnosis.catalogue import cause_named

    cause = cause_named(cause_id)
    names = {
        "vault": visit.names.hsm or visit.names.vault,
        "key": visit.names.key,
        "vm": visit.names.vm,
        "resource_group": visit.names.resource_group,
        "attestation": visit.names.attestation,
        "object_id": str(visit.access_token.get("oid") or ""),
    }
    known = {name: value for name, value in names.items() if value} | {"cause": cause_id}
    cloud = visit.inside or visit.outside or visit.anywhere
    command = cause.command_for(cloud.read_faults() if cloud else ())
    try:
        return _of_holder(command, visit).format_map(known) if command else cause.fix
    except KeyError:  # the command asks for a name that this visit does not have
        return cause.fix


def _of_holder(command: str, visit: Visit) -> str:
    """Return a command for a key with the Azure CLI's option for a Managed HSM, where that has the key."""
    return command.replace("--vault-name ", "--hsm-name ") if visit.names.hsm else command
