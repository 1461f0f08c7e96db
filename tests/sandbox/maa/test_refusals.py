"""What the sandbox's MAA refuses: each row is one change to good evidence, and the step that must name it."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from starlette.types import ASGIApp

from skrkit.evidence.eventlog import parse_event_log
from skrkit.sandbox.bootlog import boot_event_log
from skrkit.sandbox.world import World

from .asgi_call import Answer, ask
from .attested import HOST, NOW, Attester, make_attester, make_world, tpm2b

GUEST = f"https://{HOST}/attest/AzureGuest?api-version=2020-10-01"
PLATFORM = f"https://{HOST}/attest/SevSnpVm?api-version=2022-08-01"


@dataclass
class Clock:
    now: Any = NOW

    def __call__(self) -> Any:
        return self.now


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("maa"), clock)
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def made(world: World) -> Attester:
    return make_attester(world)


@pytest.fixture
def vm(made: Attester, clock: Clock) -> Attester:
    """The same keys and chip each time, with nothing changed."""
    clock.now = NOW
    return Attester(world=made.world, chip=made.chip, ak=made.ak, ek=made.ek, enc=made.enc)


def post(app: ASGIApp, url: str, body: Any) -> Answer:
    return ask(app, "POST", url, body=json.dumps(body).encode())


def flip(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def other_rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


# --- the table: fault, change, step ------------------------------------------------------------------------


def report_bit(vm: Attester) -> None:
    vm.set["SnpReport"] = flip(vm.report(), 0x90)


def report_signature_bit(vm: Attester) -> None:
    vm.set["SnpReport"] = flip(vm.report(), 0x2A0)


def report_short(vm: Attester) -> None:
    vm.set["SnpReport"] = vm.report()[:-1]


def report_version_6(vm: Attester) -> None:
    vm.report_changes["version"] = 6


def other_chip(vm: Attester) -> None:
    vm.set["VcekCertChain"] = vm.world.silicon.make_chip().vcek_pem + vm.world.silicon.chain_pem


def vcek_of_another_tcb(vm: Attester) -> None:
    key = vm.chip.key.public_key()
    vcek = vm.world.silicon.certify(key, chip_id=vm.chip.chip_id, tcb=bytes([4, 0, 0, 0, 0, 0, 24, 211]))
    from cryptography.hazmat.primitives.serialization import Encoding

    vm.set["VcekCertChain"] = vcek.public_bytes(Encoding.PEM) + vm.world.silicon.chain_pem


def vcek_of_another_key(vm: Attester) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    vcek = vm.world.silicon.certify(key, chip_id=vm.chip.chip_id, tcb=vm.chip.tcb)
    vm.set["VcekCertChain"] = vcek.public_bytes(Encoding.PEM) + vm.world.silicon.chain_pem


def no_chain(vm: Attester) -> None:
    vm.set["VcekCertChain"] = vm.chip.vcek_pem


def no_pem(vm: Attester) -> None:
    vm.set["VcekCertChain"] = b"not PEM"


def runtime_blank(vm: Attester) -> None:
    """The same JSON, written with a blank: equal to a reader, another hash."""
    vm.set["RunTimeData"] = vm.runtime().replace(b'{"keys":', b'{"keys": ')


def report_data_tail(vm: Attester) -> None:
    from skrkit.sandbox.hcl import report_data_of

    vm.report_changes["report_data"] = report_data_of(vm.runtime())[:32] + b"\x01" * 32


def runtime_not_json(vm: Attester) -> None:
    from skrkit.sandbox.hcl import report_data_of

    vm.set["RunTimeData"] = b"not JSON"
    vm.report_changes["report_data"] = report_data_of(b"not JSON")


def ak_not_in_runtime(vm: Attester) -> None:
    runtime = vm.runtime()
    vm.set["RunTimeData"] = runtime
    from skrkit.sandbox.hcl import report_data_of

    vm.report_changes["report_data"] = report_data_of(runtime)
    vm.ak = other_rsa()  # certificate, quote and certification follow; only the hardware says otherwise


def ak_garbage(vm: Attester) -> None:
    vm.set["AikPub"] = b"\x00\x04abcd"


def ak_certificate_of_another_key(vm: Attester) -> None:
    vm.set["AikCert"] = vm.world.machines.authority.issue(other_rsa().public_key(), vm_id=vm.vm_id)


def ak_certificate_self_made(vm: Attester) -> None:
    """Signed by an authority of the same name, which is not the sandbox's."""
    from skrkit.sandbox.akcert import VtpmAuthority
    from skrkit.sandbox.store import Store

    store = Store(vm.world.home / "other.db")
    vm.set["AikCert"] = VtpmAuthority(store, lambda: NOW).issue(vm.ak.public_key(), vm_id=vm.vm_id)
    store.close()


def ak_certificate_trailing(vm: Attester) -> None:
    vm.set["AikCert"] = vm.world.machines.authority.issue(vm.ak.public_key(), vm_id=vm.vm_id) + b"\x01"


def quote_by_another_key(vm: Attester) -> None:
    vm.set["PcrSignature"] = vm.sign(vm.quote(), other_rsa())


def quote_bit(vm: Attester) -> None:
    vm.set["PcrQuote"] = flip(vm.quote(), 60)
    vm.set["PcrSignature"] = vm.sign(vm.quote())


def quote_with_size_prefix(vm: Attester) -> None:
    vm.set["PcrQuote"] = tpm2b(vm.quote())


def quote_is_a_certification(vm: Attester) -> None:
    vm.quote_type = 0x8017


def quote_of_sha1(vm: Attester) -> None:
    vm.quote_alg = 0x0004


def quote_of_fewer_pcrs(vm: Attester) -> None:
    vm.quoted_pcrs = (0, 1, 2, 3, 4, 5, 6)


def pcr_list_unlike_values(vm: Attester) -> None:
    vm.set["PcrSet"] = [0, 1, 2, 3, 4, 5, 6]


def pcr_value_changed(vm: Attester) -> None:
    values = {pcr: vm.pcrs()[pcr] for pcr in vm.pcr_set}
    values[7] = bytes(32)
    vm.set["PCRs"] = [{"Index": p, "Digest": base64.b64encode(v).decode()} for p, v in values.items()]


def pcr_twice(vm: Attester) -> None:
    vm.set["PCRs"] = [{"Index": 0, "Digest": base64.b64encode(bytes(32)).decode()}] * 2


def pcr_not_in_the_log(vm: Attester) -> None:
    """PCR 4 was extended after the boot: quote and values agree, the log does not."""
    vm.set["pcr_values"] = {4: b"\x11" * 32}


def log_of_another_boot(vm: Attester) -> None:
    vm.set["TcgLogs"] = boot_event_log(secure_boot=False).log


def log_cut(vm: Attester) -> None:
    vm.set["TcgLogs"] = boot_event_log().log[:-1]


def log_payload(vm: Attester) -> None:
    """SecureBoot's value edited in the payload: the replay does not notice, hashing the payload does."""
    log = bytearray(boot_event_log(secure_boot=False).log)
    at = log.index("SecureBoot".encode("utf-16-le")) + 20
    assert log[at] == 0
    log[at] = 1
    vm.secure_boot = False
    vm.set["TcgLogs"] = bytes(log)


def key_garbage(vm: Attester) -> None:
    vm.set["EncKeyPub"] = b"\x00\x01\x00"


def key_is_another(vm: Attester) -> None:
    certified = vm.enc_public()
    vm.enc = other_rsa()
    vm.set["certified"] = certified


def key_certified_by_another(vm: Attester) -> None:
    vm.set["EncKeyCertifyInfoSignature"] = vm.sign(vm.certify(), other_rsa())


def key_certify_is_a_quote(vm: Attester) -> None:
    vm.certify_type = 0x8018


def key_with_password(vm: Attester) -> None:
    vm.enc_attributes |= 1 << 6  # userWithAuth


def key_movable(vm: Attester) -> None:
    vm.enc_attributes &= ~(1 << 1)  # fixedTPM


def key_that_signs(vm: Attester) -> None:
    vm.enc_attributes |= 1 << 18


def key_for_other_pcrs(vm: Attester) -> None:
    vm.set["policy"] = b"\x22" * 32


def key_without_policy(vm: Attester) -> None:
    vm.set["policy"] = b""


def protocol_1(vm: Attester) -> None:
    vm.set["AttestationProtocolVersion"] = "1.0"


def tdx(vm: Attester) -> None:
    vm.set["IsolationInfo"] = {"Type": "Tdx"}


def no_tpm_info(vm: Attester) -> None:
    vm.set["TpmInfo"] = None


def payload_is_text(vm: Attester) -> None:
    vm.set["ClientPayload"] = "text"


def payload_is_deep(vm: Attester) -> None:
    value: Any = []
    for _ in range(100):
        value = [value]
    vm.set["ClientPayload"] = {"nonce": value}


def version_is_text(vm: Attester) -> None:
    vm.set["OSVersionMajor"] = "jammy"


HARDWARE: list[tuple[Callable[[Attester], None], str]] = [
    (report_bit, "report.signature"),
    (report_signature_bit, "report.signature"),
    (other_chip, "bind.hwID_eq_chip_id"),
    (vcek_of_another_tcb, "bind.ucodeSPL_eq_reported_microcode"),
    (vcek_of_another_key, "report.signature"),
    (report_short, "report.parse"),
    (report_version_6, "report.version_known"),
    (no_chain, "chain.vek_signed_by_intermediate"),
    (runtime_blank, "hcl.report_data_eq_hash_of_variable_data"),
    (report_data_tail, "hcl.report_data_tail_zero"),
]
GUEST_ONLY: list[tuple[Callable[[Attester], None], str]] = [
    (no_pem, "request.body.AttestationInfo.IsolationInfo.Evidence.Proof.VcekCertChain"),
    (runtime_not_json, "request.RunTimeData"),
    (ak_not_in_runtime, "quote.ak_eq_runtime_claims"),
    (ak_garbage, "quote.ak"),
    (ak_certificate_of_another_key, "ak.certificate_key"),
    (ak_certificate_self_made, "ak.certificate_issuer"),
    (ak_certificate_trailing, "ak.certificate_issuer"),
    (quote_by_another_key, "quote.signature_by_ak"),
    (quote_bit, "quote.signature_by_ak"),
    (quote_with_size_prefix, "quote.magic_TCG"),
    (quote_is_a_certification, "quote.parse"),
    (quote_of_sha1, "quote.pcr_digest"),
    (quote_of_fewer_pcrs, "quote.pcr_set"),
    (pcr_list_unlike_values, "quote.pcr_set"),
    (pcr_value_changed, "quote.pcr_digest"),
    (pcr_twice, "request.body.AttestationInfo.TpmInfo.PCRs"),
    (pcr_not_in_the_log, "eventlog.replay_eq_pcrs"),
    (log_of_another_boot, "eventlog.replay_eq_pcrs"),
    (log_cut, "eventlog.parse"),
    (log_payload, "eventlog.payloads"),
    (key_garbage, "key.public"),
    (key_is_another, "key.certified_name"),
    (key_certified_by_another, "key.signature_by_ak"),
    (key_certify_is_a_quote, "key.type"),
    (key_with_password, "key.attributes"),
    (key_movable, "key.attributes"),
    (key_that_signs, "key.attributes"),
    (key_for_other_pcrs, "key.policy_pcr"),
    (key_without_policy, "key.policy_pcr"),
    (protocol_1, "request.AttestationProtocolVersion"),
    (tdx, "request.IsolationInfo.Type"),
    (no_tpm_info, "request.body.AttestationInfo.TpmInfo"),
    (payload_is_text, "request.ClientPayload"),
    (payload_is_deep, "request.ClientPayload"),
    (version_is_text, "request.body.AttestationInfo.OSVersionMajor"),
]


def assert_refused(answer: Answer, step: str, body: Any) -> None:
    assert answer.status == 400
    error = answer.json()["error"]
    assert error["code"] == "InvalidParameter"
    assert f"refused at step {step}:" in error["message"]
    for secret in evidence_texts(body):
        assert secret not in error["message"]


def evidence_texts(body: Any) -> list[str]:
    """Every long string of the request: none of it may come back in an error."""
    if isinstance(body, dict):
        return [text for member in body.values() for text in evidence_texts(member)]
    return [body[:40]] if isinstance(body, str) and len(body) > 40 else []


@pytest.mark.parametrize(("fault", "step"), HARDWARE + GUEST_ONLY, ids=lambda row: getattr(row, "__name__", ""))
def test_guest_attestation_refuses(app: ASGIApp, vm: Attester, fault: Callable[[Attester], None], step: str) -> None:
    fault(vm)
    body = vm.body()
    assert_refused(post(app, GUEST, body), step, body)


@pytest.mark.parametrize(("fault", "step"), HARDWARE, ids=lambda row: getattr(row, "__name__", ""))
def test_platform_attestation_refuses(app: ASGIApp, vm: Attester, fault: Callable[[Attester], None], step: str) -> None:
    fault(vm)
    body = vm.platform_body()
    assert_refused(post(app, PLATFORM, body), step, body)


def test_real_evidence_is_refused_because_its_root_is_not_the_sandboxs(
    app: ASGIApp, vm: Attester, captures: Any
) -> None:
    """A genuine Azure report with AMD's own chain: the sandbox trusts nothing but its own silicon."""
    hcl = (captures / "azure-snp-milan-v3" / "hcl-report.bin").read_bytes()
    size = struct.unpack_from("<I", hcl, 0x4D0)[0]
    der = (captures / "azure-snp-milan-v3" / "vcek.der").read_bytes()
    text = base64.encodebytes(der).decode()
    vcek = f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n".encode()
    vm.set["SnpReport"] = hcl[0x20:0x4C0]
    vm.set["RunTimeData"] = hcl[0x4D4 : 0x4D4 + size]
    vm.set["VcekCertChain"] = vcek + (captures / "amd-roots" / "milan.pem").read_bytes()
    body = vm.platform_body()
    assert_refused(post(app, PLATFORM, body), "chain.root_pinned", body)


def test_secure_boot_off_is_denied_by_the_default_policy(app: ASGIApp, vm: Attester) -> None:
    vm.secure_boot = False
    answer = post(app, GUEST, vm.body())
    assert answer.status == 400
    error = answer.json()["error"]
    assert error["code"] == "PolicyEvaluationError"
    assert "Deny claim" in error["message"]
    assert error["innererror"]["details"] == [{"code": "PolicyFailureClaim", "target": "secureboot", "value": "false"}]


@pytest.mark.parametrize("pcr", [7, 14])
def test_what_the_running_system_measures_is_no_word_of_the_firmware(app: ASGIApp, vm: Attester, pcr: int) -> None:
    """Root in the guest extends a PCR by the variable that it wishes for, and writes that into the log: it replays."""
    wished = "SecureBoot".encode("utf-16-le")
    data = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c").bytes_le + struct.pack("<QQ", 10, 1) + wished + b"\x01"
    digests = b"".join(
        struct.pack("<H", alg) + hashlib.new(name, data).digest()
        for name, alg in (("sha1", 0x0004), ("sha256", 0x000B), ("sha384", 0x000C))
    )
    event = struct.pack("<III", pcr, 0x80000001, 3) + digests + struct.pack("<I", len(data)) + data
    vm.secure_boot = False
    log = boot_event_log(secure_boot=False).log
    first = 32 + struct.unpack_from("<I", log, 28)[0]  # what another PCR is extended by can stand anywhere
    vm.set["TcgLogs"] = log + event if pcr == 7 else log[:first] + event + log[first:]
    if pcr == 7:
        vm.set["pcr_values"] = {7: hashlib.sha256(vm.replay()[7] + hashlib.sha256(data).digest()).digest()}
    error = post(app, GUEST, vm.body()).json()["error"]
    assert error["code"] == "PolicyEvaluationError"
    assert error["innererror"]["details"] == [{"code": "PolicyFailureClaim", "target": "secureboot", "value": "false"}]
    parsed = parse_event_log(vm.set["TcgLogs"])
    assert parsed.replay()[7] == vm.pcrs()[7], "it would have been taken for a log of this boot"
    assert parsed.secure_boot() is False


def test_no_event_log_is_denied_by_policy_since_nothing_vouches_for_secure_boot(app: ASGIApp, vm: Attester) -> None:
    vm.set["TcgLogs"] = ""
    error = post(app, GUEST, vm.body()).json()["error"]
    assert error["code"] == "PolicyEvaluationError"


def test_secure_boot_is_not_believed_without_pcr_7(app: ASGIApp, vm: Attester) -> None:
    vm.pcr_set = vm.quoted_pcrs = (0, 1, 2, 3, 4, 5, 6)
    error = post(app, GUEST, vm.body()).json()["error"]
    assert error["code"] == "PolicyEvaluationError"


def test_an_expired_ak_certificate_is_refused(app: ASGIApp, vm: Attester, clock: Clock) -> None:
    body = vm.body()
    clock.now = NOW + timedelta(days=366)
    assert_refused(post(app, GUEST, body), "ak.certificate_validity", body)


# --- the request around the evidence --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "url", "status", "code"),
    [
        ("POST", f"https://{HOST}/attest/AzureGuest", 400, "InvalidParameter"),
        ("POST", f"https://{HOST}/attest/TdxVm?api-version=2023-04-01-preview", 400, "InvalidParameter"),
        ("POST", f"https://{HOST}/attest/Nonsense?api-version=2020-10-01", 404, "ResourceNotFound"),
        ("GET", f"https://{HOST}/attest/AzureGuest?api-version=2020-10-01", 405, "MethodNotAllowed"),
        ("GET", f"https://{HOST}/policies/AzureGuest?api-version=2020-10-01", 401, "Unauthorized"),
        ("GET", f"https://{HOST}/certificates?api-version=2020-10-01", 401, "Unauthorized"),
        ("GET", "https://mine.weu.attest.azure.net/certs", 404, "ResourceNotFound"),
        ("GET", "https://sharedxx.xx.attest.azure.net/certs", 404, "ResourceNotFound"),
        ("POST", "https://sharedxx.xx.attest.azure.net/attest/AzureGuest?api-version=1", 404, "ResourceNotFound"),
    ],
)
def test_other_requests(app: ASGIApp, method: str, url: str, status: int, code: str) -> None:
    answer = ask(app, method, url, body=b"{}" if method == "POST" else b"")
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)


def test_another_content_type_is_refused(app: ASGIApp) -> None:
    answer = ask(app, "POST", GUEST, body=b"{}", content_type="text/plain")
    assert (answer.status, answer.json()["error"]["code"]) == (415, "UnsupportedMediaType")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"null", b'{"AttestationInfo":1}', b'{"AttestationInfo":"*"}', b'{"AttestationInfo":"e30"}'],
)
def test_odd_bodies_are_400(app: ASGIApp, body: bytes) -> None:
    for url in (GUEST, PLATFORM):
        answer = ask(app, "POST", url, body=body or b" ")
        assert (answer.status, answer.json()["error"]["code"]) == (400, "InvalidParameter")


def test_a_member_twice_in_different_case_is_refused(app: ASGIApp, vm: Attester) -> None:
    body = vm.body()
    answer = post(app, GUEST, {**body, "attestationInfo": body["AttestationInfo"]})
    assert "twice" in answer.json()["error"]["message"]
