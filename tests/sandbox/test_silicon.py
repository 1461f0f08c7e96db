"""The sandbox's AMD: certificates and reports hold up to plain `cryptography`, and read like real ones."""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from skrkit.sandbox.silicon import Chip, Silicon
from skrkit.sandbox.store import Store

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
AMD = "1.3.6.1.4.1.3704.1"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("silicon") / "state.db")
    yield store
    store.close()


@pytest.fixture(scope="module")
def silicon(store: Store) -> Silicon:
    silicon = Silicon(store, lambda: NOW)
    silicon.prepare()
    return silicon


@pytest.fixture(scope="module")
def chip(silicon: Silicon) -> Chip:
    return silicon.make_chip()


def verify_pss(child: x509.Certificate, key: object) -> None:
    """Check a certificate's signature as AMD signs: PSS, SHA-384, salt 48. By hand, not by the library's helper."""
    assert isinstance(key, rsa.RSAPublicKey)
    scheme = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)
    key.verify(child.signature, child.tbs_certificate_bytes, scheme, hashes.SHA384())


def verify_report(report: bytes, vcek: x509.Certificate) -> None:
    """Check a report's signature with nothing but slices and `cryptography`."""
    key = vcek.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    r, s = (int.from_bytes(report[at : at + 72], "little") for at in (0x2A0, 0x2E8))
    key.verify(encode_dss_signature(r, s), report[:0x2A0], ec.ECDSA(hashes.SHA384()))


def real_certificate(path: Path) -> x509.Certificate:
    data = path.read_bytes()
    with warnings.catch_warnings():  # AMD's VCEKs have serial 0, of which the library warns
        warnings.simplefilter("ignore")
        return x509.load_der_x509_certificate(data)


def amd_values(certificate: x509.Certificate) -> list[tuple[str, bytes]]:
    values = []
    for extension in certificate.extensions:
        assert isinstance(extension.value, x509.UnrecognizedExtension)
        assert not extension.critical
        values.append((extension.oid.dotted_string, extension.value.value))
    return values


def test_chain_verifies_link_by_link(silicon: Silicon, chip: Chip) -> None:
    ask, ark = x509.load_pem_x509_certificates(silicon.chain_pem)
    verify_pss(ark, ark.public_key())
    verify_pss(ask, ark.public_key())
    verify_pss(chip.vcek, ask.public_key())
    with pytest.raises(InvalidSignature):
        verify_pss(chip.vcek, ark.public_key())


def test_root_is_pinned_by_its_public_key(silicon: Silicon) -> None:
    ark = x509.load_pem_x509_certificates(silicon.chain_pem)[1]
    spki = ark.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    roots = silicon.roots()
    assert roots.name == "sandbox"
    assert dict(roots.ark) == {"Milan": hashlib.sha256(spki).hexdigest()}


def test_authorities_look_like_amds(silicon: Silicon, captures: Path) -> None:
    real = x509.load_pem_x509_certificates((captures / "amd-roots" / "milan.pem").read_bytes())
    made = x509.load_pem_x509_certificates(silicon.chain_pem)
    for ours, theirs in zip(made, real, strict=True):
        assert ours.subject == theirs.subject
        assert ours.issuer == theirs.issuer
        assert ours.serial_number == theirs.serial_number
        assert ours.signature_algorithm_oid == theirs.signature_algorithm_oid
        key = ours.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        assert key.key_size == 4096
        constraints = [{e.oid.dotted_string: e.value for e in c.extensions if e.critical} for c in (ours, theirs)]
        assert constraints[0] == constraints[1]


def test_vcek_looks_like_a_real_one(chip: Chip, captures: Path) -> None:
    real = real_certificate(captures / "azure-snp-milan-v3" / "vcek.der")
    assert chip.vcek.subject == real.subject
    assert chip.vcek.issuer == real.issuer
    assert chip.vcek.serial_number == 1  # AMD's is 0, which `cryptography` does not write
    ours, theirs = amd_values(chip.vcek), amd_values(real)
    assert [oid for oid, _ in ours] == [oid for oid, _ in theirs]
    assert dict(ours) | {f"{AMD}.4": b""} == dict(theirs) | {f"{AMD}.4": b""}
    assert dict(ours)[f"{AMD}.4"] == chip.chip_id
    assert dict(ours)[f"{AMD}.3.8"] == bytes.fromhex("020200db")  # 219 needs two content bytes


def test_report_signature_verifies_and_covers_the_first_672_bytes(silicon: Silicon, chip: Chip) -> None:
    report = silicon.report(chip, report_data=bytes(range(64)))
    assert len(report) == 1184
    verify_report(report, chip.vcek)
    for at in (0x000, 0x050, 0x1A0, 0x29F):
        changed = bytearray(report)
        changed[at] ^= 1
        with pytest.raises(InvalidSignature):
            verify_report(bytes(changed), chip.vcek)


def test_report_differs_from_a_real_one_only_where_it_must(silicon: Silicon, chip: Chip, captures: Path) -> None:
    """Against a genuine Azure report (Milan, version 3): every byte outside the named fields is the same."""
    real = (captures / "azure-snp-milan-v3" / "hcl-report.bin").read_bytes()[0x20:0x4C0]
    ours = silicon.report(chip, report_data=bytes(range(64)), report_id=b"\x01" * 32)
    may_differ = {
        "report_data": range(0x050, 0x090),
        "measurement": range(0x090, 0x0C0),
        "id_key_digest": range(0x0E0, 0x110),
        "report_id": range(0x140, 0x160),
        "chip_id": range(0x1A0, 0x1E0),
        "signature_r": range(0x2A0, 0x2D0),
        "signature_s": range(0x2E8, 0x318),
    }
    free = {at for span in may_differ.values() for at in span}
    assert [hex(at) for at in range(1184) if at not in free and ours[at] != real[at]] == []


def test_changes_are_signed(silicon: Silicon, chip: Chip) -> None:
    report = silicon.report(chip, report_data=bytes(64), policy=0xB001F, vmpl=2)
    assert report[0x08:0x10] == (0xB001F).to_bytes(8, "little")
    assert report[0x30] == 2
    verify_report(report, chip.vcek)


def test_another_process_finds_the_same_factory_and_chip(store: Store, silicon: Silicon, chip: Chip) -> None:
    again = Silicon(store, lambda: NOW)
    assert again.chain_pem == silicon.chain_pem
    found = again.chip(chip.chip_id)
    assert found is not None
    assert found.vcek == chip.vcek
    verify_report(again.report(found, report_data=bytes(64)), chip.vcek)
    assert again.chip(bytes(64)) is None


def test_keys_have_no_repr(silicon: Silicon, chip: Chip) -> None:
    assert "key" not in repr(chip).replace("vcek", "")
    assert "ark_key" not in repr(silicon.factory())


def test_crl_is_signed_by_the_ark_and_empty(silicon: Silicon) -> None:
    crl = x509.load_der_x509_crl(silicon.crl_der())
    ark = x509.load_pem_x509_certificates(silicon.chain_pem)[1]
    key = ark.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    scheme = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)
    key.verify(crl.signature, crl.tbs_certlist_bytes, scheme, hashes.SHA384())
    assert crl.issuer == ark.subject
    assert len(crl) == 0


def test_first_use_from_several_threads_makes_one_factory(tmp_path_factory: pytest.TempPathFactory) -> None:
    """`prepare()` runs in the background at start, while the first VM is already asked for."""
    store = Store(tmp_path_factory.mktemp("race") / "state.db")
    silicon = Silicon(store, lambda: NOW)
    chains: list[bytes] = []
    threads = [threading.Thread(target=lambda: chains.append(silicon.chain_pem)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(chains) == 4
    assert len(set(chains)) == 1
    store.close()
