"""A machine of the sandbox, through skrkit's own TPM client: what a guest sees in its vTPM."""

from __future__ import annotations

import hashlib
import json
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from skrkit.attestation.verifier import Evidence, verify_evidence
from skrkit.errors import ServiceError
from skrkit.evidence.eventlog import parse_event_log
from skrkit.evidence.hcl import parse_hcl_report
from skrkit.sandbox.faults.table import faults_of
from skrkit.sandbox.machine import Machine
from skrkit.sandbox.machines import Machines
from skrkit.sandbox.silicon import Silicon
from skrkit.sandbox.store import Store
from skrkit.tpm.client import Tpm

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
RESOURCE = "/subscriptions/S/resourceGroups/RG/providers/Microsoft.Compute/virtualMachines/CVM1"
VM_ID = "7df7b373-b947-4aaa-96e5-c358f2a03d20"
HCL, USER_DATA, AK_CERTIFICATE, AK = 0x01400001, 0x01400002, 0x01C101D0, 0x81000003


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


class Wire:
    """A machine as a transport of the TPM client."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def transceive(self, command: bytes) -> bytes:
        return self.machine.transceive(command)

    def close(self) -> None:
        """Nothing to close."""


@dataclass
class Place:
    store: Store
    silicon: Silicon
    clock: Clock

    def machines(self) -> Machines:
        """Machines as a new process would find them."""
        return Machines(self.store, self.silicon, self.clock)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    store = Store(tmp_path_factory.mktemp("machine") / "state.db")
    clock = Clock()
    yield Place(store, Silicon(store, clock), clock)
    store.close()


@pytest.fixture
def machines(place: Place) -> Machines:
    place.clock.now = NOW
    return place.machines()


@pytest.fixture
def machine(machines: Machines) -> Machine:
    return machines.create(RESOURCE, name="CVM1", region="westeurope", vm_id=VM_ID, secure_boot=True)


def tpm(machine: Machine) -> Tpm:
    return Tpm(Wire(machine))


def claims_of(blob: bytes) -> dict[str, object]:
    size = struct.unpack_from("<I", blob, 0x4D0)[0]
    claims: dict[str, object] = json.loads(blob[0x4D4 : 0x4D4 + size])
    return claims


def write_user_data(client: Tpm, data: bytes) -> None:
    client.nv_define(USER_DATA, 64)
    client.nv_write(USER_DATA, data)


def test_hcl_report_reads_like_the_real_one(machine: Machine, captures: Path) -> None:
    """Every field of the header and of the report, except those that tell machines apart, is a real machine's."""
    blob = tpm(machine).nv_read(HCL)
    assert len(blob) == 2600
    ours, theirs = (
        parse_hcl_report(data).fields()
        for data in (blob, (captures / "azure-snp-milan-v3" / "hcl-report.bin").read_bytes())
    )
    differ = set(differences(ours, theirs))
    assert {path.split(".")[-1] for path in differ if "runtime_claims" not in path} <= {
        "report_data",
        "measurement",
        "id_key_digest",
        "report_id",
        "chip_id",
        "r",
        "s",
        "variable_data_sha256",
        "signature",
        "signature_r",
        "signature_s",
    }


def differences(ours: object, theirs: object, at: str = "") -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for name in ours:
            yield from differences(ours[name], theirs[name], f"{at}.{name}")
    elif ours != theirs:
        yield at


def test_ak_is_in_the_report_the_certificate_and_the_quote(machine: Machine, machines: Machines) -> None:
    client = tpm(machine)
    public = client.read_public(AK)
    numbers = public.rsa_numbers()
    report = parse_hcl_report(client.nv_read(HCL))
    assert report.runtime_claims.key("HCLAkPub").public_numbers() == numbers
    stored = client.nv_read(AK_CERTIFICATE)
    assert len(stored) == 4096
    certificate = x509.load_der_x509_certificate(stored[: 4 + int.from_bytes(stored[2:4], "big")])
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert (key.public_numbers().n, key.public_numbers().e) == numbers
    certificate.verify_directly_issued_by(machines.authority.authorities().issuer)
    assert certificate.subject.rfc4514_string() == "CN=c358f2a03d20.ConfidentialVM.Azure.Microsoft"
    assert certificate.not_valid_after_utc - NOW > timedelta(days=90)  # the guest library renews below that
    attest, signature = client.quote(AK, range(8))
    assert len(attest) == 113
    key.verify(signature, attest, padding.PKCS1v15(), hashes.SHA256())


def test_ak_certificate_has_the_real_ones_form(machine: Machine, captures: Path) -> None:
    stored = tpm(machine).nv_read(AK_CERTIFICATE)
    ours = x509.load_der_x509_certificate(stored[: 4 + int.from_bytes(stored[2:4], "big")])
    real = x509.load_der_x509_certificate((captures / "azure-trusted-launch-vtpm" / "akcert.der").read_bytes())
    for kind in (x509.KeyUsage, x509.ExtendedKeyUsage, x509.CertificatePolicies):
        ours_has, real_has = (c.extensions.get_extension_for_class(kind) for c in (ours, real))
        assert (ours_has.critical, ours_has.value) == (real_has.critical, real_has.value)
    assert ours.issuer.rfc4514_string()[:-2] == real.issuer.rfc4514_string()[:-2]  # Global Virtual TPM CA - NN
    assert ours.signature_algorithm_oid == real.signature_algorithm_oid


def test_pcrs_are_what_the_event_log_leads_to(machine: Machine) -> None:
    log = parse_event_log(machine.event_log)
    for bank, alg in (("sha1", 0x0004), ("sha256", 0x000B), ("sha384", 0x000C)):
        replayed = log.replay(bank)
        assert tpm(machine).pcr_read(replayed, alg=alg) == replayed


def test_report_data_is_the_hash_of_the_claims_and_the_chip_signs(machine: Machine) -> None:
    blob = tpm(machine).nv_read(HCL)
    size = struct.unpack_from("<I", blob, 0x4D0)[0]
    assert blob[0x70:0x90] == hashlib.sha256(blob[0x4D4 : 0x4D4 + size]).digest()
    assert blob[0x90:0xB0] == bytes(32)


def test_verifier_takes_it_with_the_sandboxs_root_and_never_with_amds(machine: Machine, place: Place) -> None:
    client = tpm(machine)
    nonce = b"a nonce of the verifier's own"
    attest, signature = client.quote(AK, range(8), nonce)
    evidence = Evidence(
        hcl=client.nv_read(HCL),
        vek=machine.chip.vcek_pem,
        chain=place.silicon.chain_pem,
        quote=attest,
        quote_signature=signature,
        pcrs=client.pcr_read(range(8)),
        event_log=machine.event_log,
        nonce=nonce,
    )
    result = verify_evidence(evidence, now=NOW, roots=place.silicon.roots())
    assert (result.verdict, result.root, result.failed) == ("verified", "sandbox", ())
    outside = verify_evidence(evidence, now=NOW)
    assert outside.verdict == "failed"
    assert "chain.root_pinned" in [step.id for step in outside.failed]


def test_user_data_comes_back_in_the_next_report(machine: Machine) -> None:
    client = tpm(machine)
    assert claims_of(client.nv_read(HCL))["user-data"] == "0" * 128
    write_user_data(client, bytes(range(64)))
    blob = client.nv_read(HCL)
    assert claims_of(blob)["user-data"] == bytes(range(64)).hex().upper()
    assert parse_hcl_report(blob).snp().report_data[:32] == hashlib.sha256(parse_hcl_report(blob).runtime_data).digest()


def test_unchanged_user_data_keeps_the_report_for_two_seconds(machine: Machine, place: Place) -> None:
    client = tpm(machine)
    first = client.nv_read(HCL)
    assert client.nv_read(HCL) == first
    place.clock.now = NOW + timedelta(seconds=3)
    second = client.nv_read(HCL)
    assert second != first
    assert second[:0x2C0] == first[:0x2C0]  # the signature is made anew, what it covers is the same


def test_guest_cannot_write_or_remove_the_platforms_indexes(machine: Machine) -> None:
    from skrkit.errors import ServiceError

    client = tpm(machine)
    with pytest.raises(ServiceError):
        client.nv_write(HCL, b"x")
    with pytest.raises(ServiceError):
        client.nv_undefine(HCL)


def test_a_new_process_finds_the_machine_as_it_was(machine: Machine, place: Place) -> None:
    client = tpm(machine)
    write_user_data(client, b"\x07" * 64)
    machine.proxy_port, machine.tpm_port = 8080, 2321
    before = {
        "ak": client.read_public(AK).marshal(),
        "certificate": client.nv_read(AK_CERTIFICATE),
        "user": client.nv_read(USER_DATA),
        "pcrs": client.pcr_read(range(24)),
    }
    again = place.machines().get(RESOURCE.upper())
    assert again is not None
    client = tpm(again)
    assert before == {
        "ak": client.read_public(AK).marshal(),
        "certificate": client.nv_read(AK_CERTIFICATE),
        "user": client.nv_read(USER_DATA),
        "pcrs": client.pcr_read(range(24)),
    }
    assert (again.proxy_port, again.tpm_port) == (8080, 2321)
    assert (again.name, again.region, again.vm_id, again.secure_boot) == ("CVM1", "westeurope", VM_ID, True)
    assert claims_of(client.nv_read(HCL))["user-data"] == "07" * 64


@pytest.mark.parametrize("days", [-3, 270, 276, 4000])
def test_a_new_process_renews_an_ak_certificate_that_does_not_hold_long(
    machine: Machine, machines: Machines, place: Place, days: int
) -> None:
    before = held_certificate(machine)
    place.clock.now = NOW + timedelta(days=days)
    woken = place.machines().get(RESOURCE)
    assert woken is not None
    after = held_certificate(woken)
    renewed = days not in range(275)
    assert (after != before) == renewed
    assert after.public_key() == before.public_key()
    if renewed:
        assert after.not_valid_before_utc <= place.clock.now
        assert after.not_valid_after_utc - place.clock.now > timedelta(days=90)
        after.verify_directly_issued_by(machines.authority.authorities().issuer)
    again = place.machines().get(RESOURCE)
    assert again is not None
    assert held_certificate(again) == after, "kept, and not made at every start"


def test_a_certificate_of_the_guests_own_is_not_renewed(machine: Machine, place: Place) -> None:
    machine.vtpm.platform_nv_write(AK_CERTIFICATE, b"\x30\x82guest's own".ljust(4096, b"\0"))
    machine.save()
    place.clock.now = NOW + timedelta(days=4000)
    woken = place.machines().get(RESOURCE)
    assert woken is not None
    assert (woken.vtpm.nv_data(AK_CERTIFICATE) or b"").startswith(b"\x30\x82guest's own")


def held_certificate(machine: Machine) -> x509.Certificate:
    data = machine.vtpm.nv_data(AK_CERTIFICATE)
    assert data is not None
    return x509.load_der_x509_certificate(data[: 4 + struct.unpack_from(">H", data, 2)[0]])


def test_reboot_measures_again_and_keeps_identity(machine: Machine) -> None:
    client = tpm(machine)
    booted = client.pcr_read(range(24))
    ak = client.read_public(AK).marshal()
    client.pcr_extend(7, b"\x01" * 32)
    assert client.pcr_read([7]) != {7: booted[7]}
    machine.reboot()
    assert client.pcr_read(range(24)) == booted
    assert client.read_public(AK).marshal() == ak


def test_reboot_changes_keys_of_the_null_hierarchy_only(machine: Machine) -> None:
    client = tpm(machine)
    null, owner = (client.create_ephemeral_key(range(8), hierarchy=h) for h in ("null", "owner"))
    machine.reboot()
    null2, owner2 = (client.create_ephemeral_key(range(8), hierarchy=h) for h in ("null", "owner"))
    assert null.public.rsa_numbers() != null2.public.rsa_numbers()
    assert owner.public.rsa_numbers() == owner2.public.rsa_numbers()


def test_thim_is_what_imds_answers(machine: Machine, place: Place) -> None:
    thim = machine.thim()
    assert list(thim) == ["vcekCert", "tcbm", "certificateChain", "cacheControl"]
    assert thim["tcbm"] == "DB18000000000004"
    vcek = x509.load_pem_x509_certificate(thim["vcekCert"].encode())
    ask, ark = x509.load_pem_x509_certificates(thim["certificateChain"].encode())
    assert (vcek.issuer, ask.issuer) == (ask.subject, ark.subject)
    assert thim["vcekCert"].endswith("-----END CERTIFICATE-----\n")


def test_machines_are_found_in_any_case_and_removed_with_their_chip(machine: Machine, machines: Machines) -> None:
    other = machines.create(RESOURCE + "b", name="b", region="westeurope", vm_id=VM_ID, secure_boot=False)
    assert {m.resource_id for m in machines.all()} >= {RESOURCE.lower(), (RESOURCE + "b").lower()}
    assert machines.get(RESOURCE.upper()) is machine
    assert machines.delete(RESOURCE.upper() + "B")
    assert machines.get(RESOURCE + "b") is None
    assert not machines.delete(RESOURCE + "b")
    assert machines._silicon.chip(other.chip.chip_id) is None


def test_a_removed_machine_saves_nothing_any_more(machine: Machine, machines: Machines, place: Place) -> None:
    client = tpm(machine)
    machines.delete(RESOURCE)
    client.pcr_extend(16, b"\x01" * 32)
    assert place.machines().get(RESOURCE) is None
    successor = machines.create(RESOURCE, name="CVM1", region="westeurope", vm_id=VM_ID)
    client.pcr_extend(16, b"\x01" * 32)
    again = place.machines().get(RESOURCE)
    assert again is not None
    assert again.chip.chip_id == successor.chip.chip_id


def test_two_threads_never_mix_a_report(machine: Machine) -> None:
    """Each of several readers gets a whole report; commands are taken one at a time."""
    results: list[bool] = []

    def read() -> None:
        client = tpm(machine)
        for _ in range(5):
            blob = client.nv_read(HCL)
            size = struct.unpack_from("<I", blob, 0x4D0)[0]
            results.append(blob[0x70:0x90] == hashlib.sha256(blob[0x4D4 : 0x4D4 + size]).digest())

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 20


def test_a_machine_that_is_made_with_every_fault_on_is_whole_when_they_are_off(place: Place) -> None:
    on = {fault.name for group in ("machine", "evidence") for fault in faults_of(group)}
    machine = Machines(place.store, place.silicon, place.clock, lambda: on).create(
        f"{RESOURCE}-faulty", name="CVM2", region="westeurope", vm_id=VM_ID
    )
    client = tpm(machine)
    with pytest.raises(ServiceError) as refused:
        client.nv_read(AK_CERTIFICATE)
    assert refused.value.code == "TPM_RC_LOCKOUT"
    while_on = machine.secure_boot
    on -= {"machine.tpm-locked"}
    assert HCL not in client.handles(0x01000000)
    on.clear()
    assert (while_on, machine.secure_boot) == (False, True)
    assert HCL in client.handles(0x01000000)
    blob, thim = client.nv_read(HCL), machine.thim()
    quote, signature = client.quote(AK, range(8))
    evidence = Evidence(
        hcl=blob,
        vek=thim["vcekCert"].encode(),
        chain=thim["certificateChain"].encode(),
        quote=quote,
        quote_signature=signature,
        pcrs=client.pcr_read(range(8)),
        event_log=machine.event_log,
    )
    result = verify_evidence(evidence, now=NOW, roots=place.silicon.roots())
    assert (result.verdict, result.failed) == ("verified", ())
    held = client.nv_read(AK_CERTIFICATE)
    certificate = x509.load_der_x509_certificate(held[: 4 + int.from_bytes(held[2:4], "big")])
    assert "Global Virtual TPM CA" in certificate.issuer.rfc4514_string()
