"""Evidence in, token out: what a shared provider does for `/attest/AzureGuest` and `/attest/SevSnpVm`.

The order (attestation-and-imds.md 1.9):
(1) decode the request; (2) the report, its signature, its certificates up to the sandbox's root; (3) REPORT_DATA is the
hash of the runtime data; guest only: (4) AK, (5) quote and PCRs, (6) event log, (7) ephemeral key; (8) compliance and
claims; (9) policy; (10) token, for a guest sealed to its ephemeral key.
A step that fails is 400 InvalidParameter and names itself; a policy that denies is 400 PolicyEvaluationError.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from skrkit.encoding import json_object
from skrkit.errors import ParseError
from skrkit.sandbox.maa import boot, claims, policy, vtpm
from skrkit.sandbox.maa.refusal import malformed, refused
from skrkit.sandbox.maa.request import Hardware, guest_request, platform_request
from skrkit.sandbox.maa.token import seal_token, sign_token
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.evidence.runtime import RuntimeClaims
    from skrkit.evidence.snp import SnpReport
    from skrkit.sandbox.world import World

MUST_HOLD = ("report.signature", "chain.root_pinned", "chain.vek_signed_by_intermediate", "bind.hwID_eq_chip_id")
"""Steps that must have been taken and have held; a verifier that skipped one is not believed."""


def verify_hardware(world: World, hardware: Hardware) -> SnpReport:
    """Return the report once its signature and its certificates hold, up to the sandbox's own AMD root.

    The step in a refusal is the verifier's own. Findings on policy (debug, VMPL, TCB) become claims, not refusals.
    """
    from skrkit.attestation.verifier import Evidence, verify_evidence

    evidence = Evidence(snp=hardware.report, vek=hardware.vcek, chain=hardware.chain)
    result = verify_evidence(evidence, now=world.now(), roots=world.silicon.roots())
    for step in result.steps:
        if step.verdict == "failed" and not step.id.startswith("appraise."):
            what = step.error.what if step.error else "the check"
            raise refused(step.id, f"{what} does not hold.")
    held = {step.id for step in result.steps if step.verdict == "ok"}
    for name in MUST_HOLD:
        if name not in held:
            raise refused(name, "the check could not be made.")
    report = result.report
    if report is None:
        raise refused("report.version_known", "there is no SNP report.")
    return report


def verify_binding(report: SnpReport, runtime_data: bytes) -> None:
    """Return nothing if REPORT_DATA is the SHA-256 of the runtime data and 32 zeros. Step `bind.runtime_data`."""
    if report.report_data != hashlib.sha256(runtime_data).digest() + bytes(32):
        raise refused("bind.runtime_data", "REPORT_DATA is not the SHA-256 of the runtime data.")


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


def attest_guest(world: World, host: str, body: dict[str, Json]) -> str:
    """Return the sealed token for a guest attestation request. Raises `AzureError` 400 for anything that fails."""
    request = guest_request(body)  # (1)
    runtime_data = request.hardware.runtime_data or b""
    report = verify_hardware(world, request.hardware)  # (2)
    verify_binding(report, runtime_data)  # (3)
    runtime = _runtime_claims(runtime_data)
    ak = vtpm.verify_ak(world, request.tpm, runtime)  # (4)
    selection = vtpm.verify_quote(request.tpm, ak)  # (5)
    measured = boot.read_boot(request.event_log, request.tpm.pcrs)  # (6)
    key = vtpm.verify_ephemeral_key(request.tpm, ak, selection)  # (7)
    issued = claims.guest_claims(  # (8)
        request,
        report,
        runtime=_json(runtime_data, "RunTimeData"),
        vm_id=runtime.vm_unique_id,
        boot=measured,
        key=key,
    )
    policy.authorize_guest(issued)  # (9)
    issued["x-ms-policy-hash"] = policy.AZURE_GUEST_HASH
    return seal_token(sign_token(world, host, issued), key)  # (10)


def attest_platform(world: World, host: str, body: dict[str, Json]) -> str:
    """Return the token, a compact JWS, for a platform attestation request. Raises `AzureError` 400."""
    request = platform_request(body)  # (1)
    report = verify_hardware(world, request.hardware)  # (2)
    runtime_data = request.hardware.runtime_data
    if runtime_data is not None:
        verify_binding(report, runtime_data)  # (3)
    if request.inittime is not None and report.host_data != hashlib.sha256(request.inittime).digest():
        raise refused("bind.init_time_data", "HOST_DATA is not the SHA-256 of the init-time data.")
    issued = claims.snp_claims(report, bound=runtime_data is not None)  # (8)
    if runtime_data is not None and request.runtime_is_json:
        issued["x-ms-runtime"] = _json(runtime_data, "runtimeData")
    if request.inittime is not None and request.inittime_is_json:
        issued["x-ms-inittime"] = _json(request.inittime, "initTimeData")
    if request.nonce is not None:
        issued["nonce"] = request.nonce
    issued["x-ms-policy-hash"] = policy.SEV_SNP_HASH  # (9) the default policy permits all
    return sign_token(world, host, issued)  # (10)
