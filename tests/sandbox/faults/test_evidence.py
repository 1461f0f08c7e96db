"""Each fault of machine and evidence: who refuses it, at which step and in which words; off, the flow works again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from skrkit.errors import ReleaseRefused, ServiceError, SkrkitError, UsageError, VerificationError
from skrkit.evidence.freshness import other_user_data
from skrkit.sandbox import process
from skrkit.sandbox.endpoint import Endpoint
from skrkit.sandbox.faults.client import listed, switch_all_off, switch_off, switch_on
from skrkit.sandbox.faults.table import faults_of
from tests.sandbox.faults.faulted import claims_of, cloud_of, imds, raw_release, release
from tests.sandbox.faults.watched import attempt, failed_steps
from tests.sandbox.running import IMDS, STAGE, send, skrkit

DENIED = "Native operation failed with 65518: G:PolicyEvaluationError: A Deny claim was issued, authorization failed."
NOT_MET = (
    "HTTP 403 Forbidden/AccessDenied: Target environment attestation does not meet key release policy requirements."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How a fault looks: the flow's error, the end of its `what` and `where`, words found; and the local verifier's."""

    error: type[SkrkitError] = ServiceError
    what: str = "guest attestation"
    where: str = "POST https://sharedweu.weu.attest.azure.net/attest/AzureGuest"
    words: str = ""
    step: str = ""
    status: int = 0
    code: str = ""
    local: frozenset[str] = frozenset()


def refused_at(step: str, sentence: str, *local: str) -> Seen:
    """Azure Attestation refuses the evidence at a step."""
    words = f"HTTP 400 InvalidParameter: The evidence was refused at step {step}: {sentence}"
    return Seen(status=400, code="InvalidParameter", words=words, local=frozenset(local))


def denied(claim: str) -> Seen:
    """The default policy of a shared provider denies, since a claim is not true."""
    code = "PolicyEvaluationError/PolicyValidationFailure"
    return Seen(status=400, code=code, words=f"HTTP 400 {code}: {DENIED} The claim '{claim}' is not true.")


def not_met(*local: str) -> Seen:
    """Azure Attestation issues a token without the compliance that the key's policy asks for."""
    where = "POST https://skrkit-vault.vault.azure.net/keys/release-me//release"
    return Seen(
        error=ReleaseRefused, what="release of key release-me", where=where, words=NOT_MET, local=frozenset(local)
    )


SPOILED = "report.signature"
OTHER_AK = refused_at(
    "quote.ak_eq_runtime_claims",
    "the check of the attestation key and HCLAkPub failed.",
    "quote.signature_by_ak",
)
LOOKS: dict[str, Seen] = {
    "machine.no-nv-index": Seen(
        error=UsageError,
        what="the vTPM",
        where="NV index 0x01400001",
        words="no such index: this is another machine's TPM, and nothing was written to it",
    ),
    "machine.tpm-locked": Seen(
        what="TPM2_NV_Write",
        where="NV index 0x01400002, offset 0",
        code="TPM_RC_LOCKOUT",
        words="TPM_RC_LOCKOUT (0x921)",
    ),
    "machine.clock-skew": Seen(
        error=VerificationError, what="token nbf", where="claims /nbf", step="token.times", words="+00:00"
    ),
    "evidence.secure-boot-off": denied("secureboot"),
    "evidence.dbx-not-validated": denied("x-ms-azurevm-dbxvalidated"),
    "evidence.maa-policy": Seen(
        status=400, code="PolicyEvaluationError", words=f"HTTP 400 PolicyEvaluationError: {DENIED}"
    ),
    "evidence.report-tampered": refused_at(
        SPOILED, "the check of the SNP report signature failed.", "report.signature"
    ),
    "evidence.report-other-vm": OTHER_AK,
    "evidence.report-stale": Seen(
        error=VerificationError, what="user data of the HCL report", where="runtime claims /user-data",
        step="hcl.user_data",
    ),
    "evidence.debug-vm": not_met("report.debug_off"),
    "evidence.vmpl": not_met("report.vmpl_0"),
    "evidence.vcek-other-chip": refused_at(
        "bind.hwID_eq_chip_id", "the check of the VEK hwID failed.", SPOILED, "bind.hwID_eq_chip_id"
    ),
    "evidence.vcek-old-tcb": refused_at(
        "bind.ucodeSPL_eq_reported_microcode",
        "the check of the VEK ucodeSPL failed.",
        SPOILED,
        "bind.ucodeSPL_eq_reported_microcode",
    ),
    "evidence.chain-other-line": refused_at(
        "chain.vek_signed_by_intermediate",
        "the check of the VEK certificate signature failed.",
        "chain.vek_signed_by_intermediate",
    ),
    "evidence.ak-not-in-report": OTHER_AK,
    "evidence.ak-certificate": refused_at(
        "ak.certificate_issuer", "AikCert is not a certificate of the virtual TPM authority."
    ),
    "evidence.quote-pcrs": refused_at(
        "quote.pcr_digest", "the check of the TPM quote PCR digest failed.", "quote.pcr_digest"
    ),
    "evidence.quote-nonce": Seen(
        error=VerificationError,
        what="TPM quote extraData",
        where="the answer to TPM2_Quote by handle 0x81000003",
        step="quote.nonce",
        words="5ca1ab1e" * 8,
    ),
    "evidence.event-log": refused_at(
        "eventlog.replay_eq_pcrs",
        "the event log does not lead to the quoted value of PCR 4.",
        "eventlog.replay_eq_pcrs",
    ),
    "evidence.key-outside-vtpm": refused_at(
        "key.certified_name", "EncKeyCertifyInfo names another key than EncKeyPub."
    ),
    "evidence.runtime-claims": refused_at(
        "hcl.report_data_eq_hash_of_variable_data",
        "the check of the REPORT_DATA hash failed.",
        "hcl.report_data_eq_hash_of_variable_data",
    ),
    "evidence.firmware-rollback": not_met(),
}  # fmt: skip
NOT_COLLECTED = ("machine.no-nv-index", "machine.tpm-locked", "evidence.quote-nonce")


def test_every_fault_of_these_groups_is_here() -> None:
    assert {fault.name for group in ("machine", "evidence") for fault in faults_of(group)} == set(LOOKS)


@pytest.mark.parametrize("name", list(LOOKS))
def test_the_flow_fails_as_it_says_and_works_again(endpoint: Endpoint, name: str) -> None:
    cloud, seen = cloud_of(endpoint), LOOKS[name]
    release(cloud)  # so that this is not the VM's first attestation, whichever test runs first
    switch_on(name, home=endpoint.home)
    with pytest.raises(SkrkitError) as caught:
        release(cloud)
    error = caught.value
    assert type(error) is seen.error
    assert (error.what, error.where) == (seen.what, seen.where)
    assert seen.words in error.found
    assert getattr(error, "step", "") == seen.step
    if isinstance(error, ServiceError):
        assert (error.status, error.code) == (seen.status, seen.code)
    if name not in NOT_COLLECTED:
        assert failed_steps(attempt(cloud)) == seen.local
    switch_off(name, home=endpoint.home)
    assert release(cloud).proof.message_bytes == 32
    assert attempt(cloud).local.verdict == "verified"


# --- what makes each fault what it says, read without skrkit's parsers


def snp_of(hcl_report: bytes) -> bytes:
    """The SNP report inside an HCL report."""
    return hcl_report[0x20 : 0x20 + 1184]


def signed_by(snp: bytes, certificate: str) -> bool:
    """Whether the certificate's key signed the report: ECDSA P-384 over 672 bytes, r and s little-endian."""
    r, s = (int.from_bytes(snp[at : at + 72], "little") for at in (0x2A0, 0x2A0 + 72))
    key = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    try:
        key.verify(encode_dss_signature(r, s), snp[:0x2A0], ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        return False
    return True


def claims_in(hcl_report: bytes) -> bytes:
    """The runtime claims of an HCL report."""
    (size,) = struct.unpack_from("<I", hcl_report, 0x4D0)
    return hcl_report[0x4D4 : 0x4D4 + size]


@pytest.mark.parametrize(
    ("name", "offset", "value"),
    [
        ("evidence.debug-vm", 0x008, (0x3001F | 1 << 19).to_bytes(8, "little")),
        ("evidence.vmpl", 0x030, (2).to_bytes(4, "little")),
        ("evidence.firmware-rollback", 0x187, bytes([114])),
    ],
)
def test_a_report_that_is_wrong_is_signed_all_the_same(
    endpoint: Endpoint, name: str, offset: int, value: bytes
) -> None:
    switch_on(name, home=endpoint.home)
    attempted = attempt(cloud_of(endpoint))
    snp = snp_of(attempted.evidence.hcl_report)
    assert snp[offset : offset + len(value)] == value
    assert signed_by(snp, attempted.evidence.certificates["vcekCert"])
    tee = claims_of(attempted.token)["x-ms-isolation-tee"]
    assert "x-ms-compliance-status" not in tee
    found = (tee["x-ms-sevsnpvm-is-debuggable"], tee["x-ms-sevsnpvm-vmpl"], tee["x-ms-sevsnpvm-microcode-svn"])
    assert (
        found
        == {
            "evidence.debug-vm": (True, 0, 219),
            "evidence.vmpl": (False, 2, 219),
            "evidence.firmware-rollback": (False, 0, 114),
        }[name]
    )


def test_rolled_back_firmware_is_below_what_the_host_has_committed(endpoint: Endpoint) -> None:
    switch_on("evidence.firmware-rollback", home=endpoint.home)
    evidence = attempt(cloud_of(endpoint)).evidence
    snp = snp_of(evidence.hcl_report)
    assert (snp[0x187], snp[0x1E7], snp[0x3F]) == (114, 219, 219)  # reported, committed, current
    assert evidence.certificates["tcbm"].startswith(f"{114:02X}")


def test_a_tampered_report_is_the_chip_s_but_for_one_bit(endpoint: Endpoint) -> None:
    switch_on("evidence.report-tampered", home=endpoint.home)
    evidence = attempt(cloud_of(endpoint)).evidence
    snp = bytearray(snp_of(evidence.hcl_report))
    assert not signed_by(bytes(snp), evidence.certificates["vcekCert"])
    snp[0x090] ^= 1
    assert signed_by(bytes(snp), evidence.certificates["vcekCert"])


def test_the_report_of_a_neighbour_holds_in_itself_and_names_another_vm(endpoint: Endpoint) -> None:
    vm_id = imds(endpoint, f"{IMDS}/metadata/instance/compute/vmId?api-version=2021-12-13&format=text").body.decode()
    cloud = cloud_of(endpoint)
    mine = attempt(cloud).evidence
    switch_on("evidence.report-other-vm", home=endpoint.home)
    theirs = attempt(cloud).evidence
    claims = claims_in(theirs.hcl_report)
    snp = snp_of(theirs.hcl_report)
    assert signed_by(snp, theirs.certificates["vcekCert"])
    assert snp[0x050:0x070] == hashlib.sha256(claims).digest()
    assert json.loads(claims_in(mine.hcl_report))["vm-configuration"]["vmUniqueId"] == vm_id.upper()
    assert json.loads(claims)["vm-configuration"]["vmUniqueId"] != vm_id.upper()
    assert snp[0x1A0:0x1E0] == snp_of(mine.hcl_report)[0x1A0:0x1E0]  # CHIP_ID: a neighbour
    assert snp[0x140:0x160] != snp_of(mine.hcl_report)[0x140:0x160]  # REPORT_ID


def test_a_stale_report_is_the_one_of_before(endpoint: Endpoint) -> None:
    cloud = cloud_of(endpoint)
    before = attempt(cloud).evidence.hcl_report
    switch_on("evidence.report-stale", home=endpoint.home)
    stale = attempt(cloud)
    assert stale.evidence.hcl_report == before
    assert stale.token, "Azure Attestation knows no user data to hold it against, and issues a token"
    assert release_error(endpoint).step == "hcl.user_data"


def release_error(endpoint: Endpoint) -> VerificationError:
    """The error of a release that must fail by a check."""
    with pytest.raises(VerificationError) as caught:
        release(cloud_of(endpoint))
    return caught.value


def test_certificates_of_others(endpoint: Endpoint) -> None:
    cloud = cloud_of(endpoint)
    right = attempt(cloud).evidence.certificates
    switch_on("evidence.vcek-other-chip", home=endpoint.home)
    other = attempt(cloud).evidence.certificates
    assert hw_id(other["vcekCert"]) != hw_id(right["vcekCert"])
    assert other["certificateChain"] == right["certificateChain"]
    switch_off("evidence.vcek-other-chip", home=endpoint.home)
    switch_on("evidence.chain-other-line", home=endpoint.home)
    chain = x509.load_pem_x509_certificates(attempt(cloud).evidence.certificates["certificateChain"].encode())
    assert [name_of(certificate) for certificate in chain] == ["SEV-Genoa", "ARK-Genoa"]
    chain[0].verify_directly_issued_by(chain[1])  # a chain in itself


def hw_id(pem: str) -> bytes:
    """hwID of a VCEK, extension 1.3.6.1.4.1.3704.1.4."""
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.3704.1.4")
    extension = x509.load_pem_x509_certificate(pem.encode()).extensions.get_extension_for_oid(oid).value
    assert isinstance(extension, x509.UnrecognizedExtension)
    return extension.value


def name_of(certificate: x509.Certificate) -> str:
    """The common name of a certificate's subject."""
    return str(certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


def test_the_certificate_of_an_attestation_key_that_has_none_is_a_placeholder(endpoint: Endpoint) -> None:
    switch_on("evidence.ak-certificate", home=endpoint.home)
    held = attempt(cloud_of(endpoint)).evidence.ak_certificate
    der = held[: 4 + int.from_bytes(held[2:4], "big")]
    issuer = x509.load_der_x509_certificate(der).issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    # What Azure's guest library looks for, in upper case: "/CN=MICROSOFT AZURE TRUSTED VM RSA"
    assert str(issuer).upper().startswith("MICROSOFT AZURE TRUSTED VM RSA")
    assert not any(held[len(der) :])


def test_secure_boot_off_is_measured_and_claimed(endpoint: Endpoint) -> None:
    cloud = cloud_of(endpoint)
    on = attempt(cloud).evidence
    switch_on("evidence.secure-boot-off", home=endpoint.home)
    off = attempt(cloud).evidence
    assert off.pcrs[7] != on.pcrs[7]
    assert off.pcrs[0] == on.pcrs[0]
    assert json.loads(claims_in(off.hcl_report))["vm-configuration"]["secure-boot"] is False
    assert off.event_log != on.event_log
    switch_off("evidence.secure-boot-off", home=endpoint.home)
    again = attempt(cloud).evidence
    assert (again.pcrs, again.event_log) == (on.pcrs, on.event_log)


def test_a_clock_that_is_behind_finds_every_token_to_be_of_the_future(endpoint: Endpoint) -> None:
    cloud = cloud_of(endpoint)
    switch_on("machine.clock-skew", home=endpoint.home)
    attempted, now = attempt(cloud), cloud.now().timestamp()
    url = f"{IMDS}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net"
    access = claims_of(imds(endpoint, url).json()["access_token"])
    for issued in (claims_of(attempted.token)["iat"], access["iat"]):
        assert 1790 < issued - now < 1810
    assert raw_release(endpoint, attempted.token).status == 200, "the cloud agrees with itself"


# --- strangers


def tools(endpoint: Endpoint, folder: Path, *command: str) -> tuple[int, str]:
    """Run one of tpm2-tools against the VM's vTPM; return its exit code and what it said."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"NO {command[0]}: no stranger looks at the vTPM. Install tpm2-tools.")
    done = skrkit(
        endpoint.home, "sandbox", "exec", "--vm", STAGE.vm, "--", "sh", "-c", f"cd {folder} && {' '.join(command)}"
    )
    return done.returncode, done.stdout + done.stderr


def test_tpm2_tools_find_no_report(endpoint: Endpoint, tmp_path: Path) -> None:
    assert tools(endpoint, tmp_path, "tpm2_nvreadpublic", "0x01400001")[0] == 0
    switch_on("machine.no-nv-index", home=endpoint.home)
    code, said = tools(endpoint, tmp_path, "tpm2_nvreadpublic", "0x01400001")
    assert code != 0
    assert "0x18B" in said  # TPM_RC_HANDLE, handle 1
    code, said = tools(endpoint, tmp_path, "tpm2_getcap", "handles-nv-index")
    assert "0x1C101D0" in said
    assert "0x1400001" not in said


def test_tpm2_tools_are_locked_out(endpoint: Endpoint, tmp_path: Path) -> None:
    switch_on("machine.tpm-locked", home=endpoint.home)
    code, said = tools(endpoint, tmp_path, "tpm2_nvread", "-C", "o", "0x01400001", "-o", "report.bin")
    assert code != 0
    assert "921" in said
    assert tools(endpoint, tmp_path, "tpm2_pcrread", "sha256:0")[0] == 0  # needs no authorisation


def test_tpm2_tools_tell_a_replayed_quote_by_its_nonce_alone(endpoint: Endpoint, tmp_path: Path) -> None:
    switch_on("evidence.quote-nonce", home=endpoint.home)
    quote = (
        "tpm2_quote",
        "-c",
        "0x81000003",
        "-l",
        "sha256:0,7",
        "-q",
        "00112233",
        "-m",
        "m",
        "-s",
        "s",
        "-g",
        "sha256",
    )
    assert tools(endpoint, tmp_path, "tpm2_readpublic", "-c", "0x81000003", "-f", "pem", "-o", "ak.pem")[0] == 0
    assert tools(endpoint, tmp_path, *quote)[0] == 0
    check = ("tpm2_checkquote", "-u", "ak.pem", "-m", "m", "-s", "s", "-g", "sha256", "-q")
    assert tools(endpoint, tmp_path, *check, "00112233")[0] != 0
    assert tools(endpoint, tmp_path, *check, "5ca1ab1e" * 8)[0] == 0


# --- real reports, and a sandbox that is killed


def test_user_data_of_real_reports(captures: Path) -> None:
    for name in ("azure-snp-milan-v2", "azure-snp-milan-v3"):
        report = (captures / name / "hcl-report.bin").read_bytes()
        claims = json.loads(claims_in(report))
        if "user-data" not in claims:
            assert other_user_data(report, b"anything") == b""  # a paravisor of before: nothing to hold against
            continue
        held = bytes.fromhex(claims["user-data"])
        assert other_user_data(report, held) == b""
        assert other_user_data(report, held.rstrip(b"\0")) == b""
        assert other_user_data(report, b"something that was written a moment ago") == held
    assert other_user_data(b"no report", b"x") == b""


def test_faults_of_the_machine_survive_a_killed_sandbox(endpoint: Endpoint) -> None:
    names = ["evidence.event-log", "evidence.secure-boot-off"]
    for name in names:
        switch_on(name, home=endpoint.home)
    cloud = cloud_of(endpoint)
    before = attempt(cloud)
    assert before.error is not None
    assert "eventlog.replay_eq_pcrs" in before.error.found
    os.kill(process.ensure_running(endpoint.home).pid, signal.SIGKILL)
    process.ensure_running(endpoint.home)
    assert sorted(str(fault["name"]) for fault in listed(home=endpoint.home) if fault["on"]) == names
    after = attempt(cloud_of(endpoint))
    assert after.error is not None
    assert after.error.found == before.error.found
    assert after.evidence.event_log == before.evidence.event_log
    assert set(switch_all_off(home=endpoint.home)) == set(names)
    assert release(cloud_of(endpoint)).proof.message_bytes == 32


def test_the_answer_of_attestation_names_the_claim_where_the_service_does(endpoint: Endpoint) -> None:
    switch_on("evidence.dbx-not-validated", home=endpoint.home)
    refused = raw_attestation(endpoint)
    assert refused["error"]["innererror"] == {
        "code": "PolicyValidationFailure",
        "details": [{"code": "PolicyFailureClaim", "target": "x-ms-azurevm-dbxvalidated", "value": "false"}],
    }
    switch_off("evidence.dbx-not-validated", home=endpoint.home)
    switch_on("evidence.maa-policy", home=endpoint.home)
    assert raw_attestation(endpoint) == {"error": {"code": "PolicyEvaluationError", "message": DENIED}}


def raw_attestation(endpoint: Endpoint) -> dict[str, dict[str, object]]:
    """The body of Azure Attestation's answer to good evidence, which must be a refusal."""
    from skrkit.services.maa import GUEST_API, attestation_info

    evidence = attempt(cloud_of(endpoint)).evidence
    info = json.dumps(attestation_info(evidence, {"nonce": "n"})).encode()
    from skrkit.encoding import b64url

    url = f"{STAGE.attestation}/attest/AzureGuest?api-version={GUEST_API}"
    answer = send(endpoint, "POST", url, {"AttestationInfo": b64url(info)})
    assert answer.status == 400
    found: dict[str, dict[str, object]] = answer.json()
    return found
