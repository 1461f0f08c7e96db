"""The bodies of `/attest/AzureGuest` and `/attest/SevSnpVm`, decoded. Nothing is verified here.

Sources: Azure REST API, Attestation; for what AttestationInfo holds, the clients that send it:
github.com/Azure/confidential-computing-cvm-guest-attestation and github.com/Azure/cvm-attestation-tools.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from skrkit.sandbox.maa.members import Members
from skrkit.sandbox.maa.refusal import refused
from skrkit.sandbox.maa.tdx import tdx_kind
from skrkit.sandbox.web import AzureError
from skrkit.wire import Json

PEM_END = b"-----END CERTIFICATE-----"
MAX_PAYLOAD_DEPTH = 32  # of the token that echoes it, a reader must not run out of stack


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """SNP evidence: the report, its certificates as PEM (VCEK first), and the bytes that REPORT_DATA is the hash of."""

    report: bytes
    vcek: bytes
    chain: bytes
    runtime_data: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TpmInfo:
    """What the vTPM says: AK, quote, PCRs and the certified ephemeral key, in their TPM forms."""

    ak_certificate: bytes
    ak_public: bytes
    quote: bytes
    quote_signature: bytes
    pcr_set: tuple[int, ...]
    pcrs: dict[int, bytes]
    key_public: bytes
    key_certify: bytes
    key_certify_signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestRequest:
    """A decoded `AttestationInfo`. The OS members are the guest's own word: echoed, never checked."""

    protocol: str
    os_type: str
    os_distro: str
    os_build: str
    os_major: int
    os_minor: int
    event_log: bytes
    client_payload: dict[str, Json]
    tpm: TpmInfo
    hardware: Hardware


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformRequest:
    """A decoded `SevSnpVm` body. `runtime` and `inittime` say whether their data is to be read as JSON claims."""

    hardware: Hardware
    runtime_is_json: bool
    inittime: bytes | None
    inittime_is_json: bool
    nonce: Json = field(default=None)
    draft_policy: str | None = None


def _hardware(proof: Members, runtime_data: bytes | None) -> Hardware:
    report = proof.bytes("SnpReport")
    if (tdx := tdx_kind(report)) is not None:
        raise refused(f"request.{proof.at}.SnpReport", f"SnpReport is {tdx}, and no AMD SEV-SNP report.")
    pem = proof.bytes("VcekCertChain")
    leaf, end, chain = pem.partition(PEM_END)
    if not end:
        raise refused(f"request.{proof.at}.VcekCertChain", "VcekCertChain must be PEM: VCEK, ASK, ARK.")
    return Hardware(report=report, vcek=leaf + end + b"\n", chain=chain.lstrip(), runtime_data=runtime_data)


def _index(value: Json, at: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 24:
        raise refused(f"request.{at}", f"{at} must hold PCR indexes, 0 to 23.")
    return value


def _pcrs(info: Members) -> dict[int, bytes]:
    pcrs: dict[int, bytes] = {}
    for item in info.array("PCRs"):
        entry = Members(item, f"{info.at}.PCRs")
        index = _index(entry.value("Index"), entry.at)
        digest = entry.bytes("Digest")
        if index in pcrs or len(digest) != 32:
            raise refused(f"request.{entry.at}", f"{entry.at} must hold each PCR once, with a SHA-256 value.")
        pcrs[index] = digest
    return pcrs


def _tpm_info(info: Members) -> TpmInfo:
    return TpmInfo(
        ak_certificate=info.bytes("AikCert"),
        ak_public=info.bytes("AikPub"),
        quote=info.bytes("PcrQuote"),
        quote_signature=info.bytes("PcrSignature"),
        pcr_set=tuple(_index(value, f"{info.at}.PcrSet") for value in info.array("PcrSet")),
        pcrs=_pcrs(info),
        key_public=info.bytes("EncKeyPub"),
        key_certify=info.bytes("EncKeyCertifyInfo"),
        key_certify_signature=info.bytes("EncKeyCertifyInfoSignature"),
    )


def _payload(info: Members) -> dict[str, Json]:
    value = info.value("ClientPayload")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise refused("request.ClientPayload", "ClientPayload must be a JSON object or null.")
    level: list[Json] = [value]
    for _ in range(MAX_PAYLOAD_DEPTH):
        level = [member for item in level for member in _members(item)]
    if level:
        raise refused("request.ClientPayload", f"ClientPayload must not nest deeper than {MAX_PAYLOAD_DEPTH} levels.")
    return value


def _members(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _other_isolation(found: str) -> AzureError:
    """Return the refusal of a machine of another kind. The real service takes Tdx and TrustedLaunch too."""
    words = "IsolationInfo.Type must be SevSnp: all that the sandbox attests."
    if found == "Tdx":
        words = f"{words} The evidence says that it is Intel TDX's, and the sandbox has no such machine."
    return refused("request.IsolationInfo.Type", words)


def guest_request(body: dict[str, Json]) -> GuestRequest:
    """Return a decoded guest attestation request. Raises `AzureError` 400 that names the member."""
    info = Members(body, "body").json("AttestationInfo")
    if info.text("AttestationProtocolVersion") != "2.0":
        raise refused("request.AttestationProtocolVersion", "AttestationProtocolVersion must be 2.0.")
    isolation = info.object("IsolationInfo")
    if isolation.text("Type") != "SevSnp":
        raise _other_isolation(isolation.text("Type"))
    evidence = isolation.object("Evidence")
    return GuestRequest(
        protocol="2.0",
        os_type=info.decoded("OSType"),
        os_distro=info.decoded("OSDistro"),
        os_build=info.decoded("OSBuild"),
        os_major=info.number("OSVersionMajor"),
        os_minor=info.number("OSVersionMinor"),
        event_log=info.bytes("TcgLogs"),
        client_payload=_payload(info),
        tpm=_tpm_info(info.object("TpmInfo")),
        hardware=_hardware(evidence.json("Proof"), evidence.bytes("RunTimeData")),
    )


def _typed_data(body: Members, name: str) -> tuple[bytes | None, bool]:
    """Return the bytes of `runtimeData` or `initTimeData`, and whether they are JSON; None when absent or empty."""
    if not body.has(name):
        return None, False
    part = body.object(name)
    kind = part.text("dataType") if part.value("dataType") != "" and part.has("dataType") else "Binary"
    if kind.lower() not in ("json", "binary"):
        raise refused(f"request.{name}.dataType", f"{name}.dataType must be JSON or Binary.")
    data = part.bytes("data") if part.has("data") else b""
    return data or None, kind.lower() == "json"


def platform_request(body: dict[str, Json]) -> PlatformRequest:
    """Return a decoded platform attestation request. Raises `AzureError` 400 that names the member."""
    members = Members(body, "body")
    runtime_data, runtime_is_json = _typed_data(members, "runtimeData")
    inittime, inittime_is_json = _typed_data(members, "initTimeData")
    nonce = members.value("nonce")
    if isinstance(nonce, bool) or not isinstance(nonce, str | int | None):
        raise refused("request.nonce", "nonce must be a string or a number.")
    return PlatformRequest(
        hardware=_hardware(members.json("report"), runtime_data),
        runtime_is_json=runtime_is_json,
        inittime=inittime,
        inittime_is_json=inittime_is_json,
        nonce=nonce,
        draft_policy=members.text("draftPolicyForAttestation") if members.has("draftPolicyForAttestation") else None,
    )
