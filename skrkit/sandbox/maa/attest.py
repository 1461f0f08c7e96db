"""Evidence in, token out: what a provider does for `/attest/AzureGuest` and `/attest/SevSnpVm`.

The order, inferred, since no document of Azure has it:
(1) decode the request; (2) hardware: the report, its certificates up to the sandbox's root, chip and TCB, signature,
REPORT_DATA over the runtime data; guest only: (3) AK in the runtime claims, quote by it, PCR values; (4) AK
certificate; (5) event log; (6) ephemeral key; then (7) compliance and claims; (8) policy; (9) token.
Steps (2) and (3) are skrkit's own verifier with the sandbox's root, and their ids are its ids.
A step that fails is 400 InvalidParameter and names itself; a policy that denies is 400 PolicyEvaluationError.
A draft policy that comes with a platform request is tried in place of the provider's, for a token that nobody signs.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from skrkit.encoding import json_object
from skrkit.errors import ParseError
from skrkit.sandbox.faults import token as faults
from skrkit.sandbox.maa import boot, claims, policy, vtpm
from skrkit.sandbox.maa.refusal import malformed, refused
from skrkit.sandbox.maa.request import Hardware, TpmInfo, guest_request, platform_request
from skrkit.sandbox.maa.token import seal_token, sign_token, unsecured_token
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.attestation.result import AttestationResult, StepResult
    from skrkit.evidence.runtime import RuntimeClaims
    from skrkit.evidence.snp import SnpReport
    from skrkit.sandbox.world import World


def verify_hardware(world: World, hardware: Hardware, tpm: TpmInfo | None = None) -> SnpReport:
    """Return the report once everything given holds, up to the sandbox's own AMD root: steps (2) and, with `tpm`, (3).

    Only a complete run is believed: a step that could not be made is refused like one that failed. Debug, VMPL and
    migration are allowed here, since they become claims.
    """
    from skrkit.attestation.verifier import Evidence, ReferenceValues, verify_evidence

    result = verify_evidence(
        Evidence(
            snp=hardware.report,
            vek=hardware.vcek,
            chain=hardware.chain,
            runtime_data=hardware.runtime_data,
            quote=tpm.quote if tpm else None,
            quote_signature=tpm.quote_signature if tpm else None,
            ak=tpm.ak_public if tpm else None,
            pcrs=tpm.pcrs if tpm else None,
        ),
        now=world.now(),
        roots=world.silicon.roots(),
        reference=ReferenceValues(debug_allowed=True, migration_allowed=True, vmpl=None),
    )
    if result.verdict != "verified" or result.report is None:
        step = _culprit(result)
        made = "failed" if step.verdict == "failed" else "could not be made"
        raise refused(step.id, f"the check of the {_name(step)} {made}.")
    return result.report


def _culprit(result: AttestationResult) -> StepResult:
    """Return the step to name: the first that failed, but a wrong certificate before the signature that it spoils."""
    failed = result.failed or result.not_checked
    wrong = [step for step in failed if step.id.startswith("bind.")]
    return wrong[0] if wrong and failed[0].id == "report.signature" else failed[0]


def _name(step: StepResult) -> str:
    from skrkit.attestation.steps import STEPS

    return STEPS[step.id]


def _json(data: bytes, name: str) -> dict[str, Json]:
    try:
        return json_object(data, what=name, where="its bytes")
    except ParseError as cause:
        raise malformed(f"request.{name}", cause) from None


def _runtime_claims(data: bytes) -> RuntimeClaims:
    from skrkit.evidence.runtime import parse_runtime_claims

    try:
        return parse_runtime_claims(data)
    except ParseError as cause:
        raise malformed("request.RunTimeData", cause) from None


def _vm_id(runtime: RuntimeClaims) -> str:
    try:
        return runtime.vm_unique_id
    except ParseError as cause:
        raise malformed("request.RunTimeData", cause) from None


def attest_guest(world: World, host: str, body: dict[str, Json]) -> str:
    """Return the sealed token for a guest attestation request. Raises `AzureError` 400 for anything that fails."""
    request = guest_request(body)  # (1)
    runtime_data = request.hardware.runtime_data or b""
    runtime = _runtime_claims(runtime_data)
    report = verify_hardware(world, request.hardware, request.tpm)  # (2) (3)
    ak = vtpm.verify_ak_certificate(world, request.tpm)  # (4)
    selection = vtpm.quoted_selection(request.tpm)
    measured = boot.read_boot(request.event_log, request.tpm.pcrs)  # (5)
    if world.faulty("evidence.dbx-not-validated"):
        measured = measured.without("dbx")
    key = vtpm.verify_ephemeral_key(request.tpm, ak, selection)  # (6)
    issued = claims.guest_claims(  # (7)
        request,
        report,
        runtime=_json(runtime_data, "RunTimeData"),
        vm_id=_vm_id(runtime),
        boot=measured,
        key=key,
    )
    issued |= policy.judge(_policy(world, host, "azureguest"), issued)  # (8)
    return seal_token(sign_token(world, host, issued), faults.sealing_key(world, key))  # (9)


def attest_platform(world: World, host: str, body: dict[str, Json]) -> str:
    """Return the token, a compact JWS, for a platform attestation request. Raises `AzureError` 400."""
    request = platform_request(body)  # (1)
    report = verify_hardware(world, request.hardware)  # (2)
    runtime_data = request.hardware.runtime_data
    if request.inittime is not None and report.host_data != hashlib.sha256(request.inittime).digest():
        raise refused("bind.init_time_data", "HOST_DATA is not the SHA-256 of the init-time data.")
    issued = claims.snp_claims(report, bound=runtime_data is not None)  # (7)
    if runtime_data is not None and request.runtime_is_json:
        issued["x-ms-runtime"] = _json(runtime_data, "runtimeData")
    if request.inittime is not None and request.inittime_is_json:
        issued["x-ms-inittime"] = _json(request.inittime, "initTimeData")
    if request.nonce is not None:
        issued["nonce"] = request.nonce
    if request.draft_policy is not None:
        issued |= policy.judge(policy.draft(request.draft_policy), issued)
        return unsecured_token(world, host, issued)
    issued |= policy.judge(_policy(world, host, "sevsnpvm"), issued)  # (8)
    return sign_token(world, host, issued)  # (9)


def _policy(world: World, host: str, kind: str) -> policy.InForce:
    found = policy.in_force(world, host, kind)
    assert found is not None  # both kinds have a default
    return found
