"""The certificates that AMD would sign: ARK, ASK and VCEK, with AMD's names and extensions, and the ARK's CRL.

Layout after AMD 57230 (VCEK certificate and KDS interface), held against real ones.
What differs from AMD's own: the keys, the dates, and the VCEK's serial number, which is 1 where AMD's is 0
(`cryptography` refuses to write 0).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from skrkit.sandbox.certificateparts import key_usage

LINE = "Milan"
PRODUCT_NAME = "Milan-B0"  # of a VCEK, real ones on Azure read the same
CRL_URL = f"https://kdsintf.amd.com/vcek/v1/{LINE}/crl"
AMD_ARC = "1.3.6.1.4.1.3704.1"
_YEAR = timedelta(days=365)
_CLOCK_SKEW = timedelta(days=1)  # a verifier whose clock is a little behind must not refuse a fresh root


def amd_pss() -> padding.PSS:
    """Return AMD's signature scheme: RSASSA-PSS, MGF1 with SHA-384, a salt of 48 bytes."""
    return padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)


def amd_name(common_name: str) -> x509.Name:
    """Return a distinguished name as AMD writes it: OU, C, L, ST, O, CN, in that order."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Engineering"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.LOCALITY_NAME, "Santa Clara"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "CA"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Advanced Micro Devices"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _crl_point() -> x509.CRLDistributionPoints:
    name = x509.UniformResourceIdentifier(CRL_URL)
    return x509.CRLDistributionPoints([x509.DistributionPoint([name], None, None, None)])


def ark_certificate(key: rsa.RSAPrivateKey, now: datetime, line: str = LINE) -> x509.Certificate:
    """Return the self-signed root: CN ARK-Milan, RSA-4096, 25 years, CA without a path length."""
    return (
        x509.CertificateBuilder()
        .subject_name(amd_name(f"ARK-{line}"))
        .issuer_name(amd_name(f"ARK-{line}"))
        .public_key(key.public_key())
        .serial_number(0x10000)
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + 25 * _YEAR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(key_usage(certificates=True, crls=True), critical=True)
        .add_extension(_crl_point(), critical=False)
        .sign(key, hashes.SHA384(), rsa_padding=amd_pss())
    )


def ask_certificate(
    key: rsa.RSAPublicKey, ark_key: rsa.RSAPrivateKey, ark: x509.Certificate, now: datetime, line: str = LINE
) -> x509.Certificate:
    """Return the intermediate: CN SEV-Milan, RSA-4096, CA with a path length of 0, signed by the ARK."""
    return (
        x509.CertificateBuilder()
        .subject_name(amd_name(f"SEV-{line}"))
        .issuer_name(ark.subject)
        .public_key(key)
        .serial_number(0x10001)
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + 25 * _YEAR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ark_key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(certificates=True), critical=True)
        .add_extension(_crl_point(), critical=False)
        .sign(ark_key, hashes.SHA384(), rsa_padding=amd_pss())
    )


def der_integer(value: int) -> bytes:
    """Return an unsigned value below 32768 as a DER INTEGER: 219 takes two content bytes, `02 02 00 DB`."""
    content = value.to_bytes(2 if value > 0x7F else 1, "big")
    return b"\x02" + len(content).to_bytes(1, "big") + content


def vcek_extensions(*, chip_id: bytes, tcb: bytes) -> list[tuple[str, bytes]]:
    """Return AMD's extensions in a Milan VCEK's own order, as (OID, extnValue).

    `chip_id`: 64 bytes, written raw with no DER tag. `tcb`: REPORTED_TCB, 8 bytes (0 boot loader, 1 TEE, 6 SNP,
    7 microcode). Source: AMD 57230, VCEK certificate.
    """
    return [
        (f"{AMD_ARC}.1", der_integer(0)),
        (f"{AMD_ARC}.2", b"\x16" + bytes([len(PRODUCT_NAME)]) + PRODUCT_NAME.encode("ascii")),
        (f"{AMD_ARC}.3.1", der_integer(tcb[0])),
        (f"{AMD_ARC}.3.2", der_integer(tcb[1])),
        (f"{AMD_ARC}.3.4", der_integer(tcb[2])),
        (f"{AMD_ARC}.3.5", der_integer(tcb[3])),
        (f"{AMD_ARC}.3.6", der_integer(tcb[4])),
        (f"{AMD_ARC}.3.7", der_integer(tcb[5])),
        (f"{AMD_ARC}.3.3", der_integer(tcb[6])),
        (f"{AMD_ARC}.3.8", der_integer(tcb[7])),
        (f"{AMD_ARC}.4", chip_id),
    ]


def vcek_certificate(
    key: ec.EllipticCurvePublicKey,
    ask_key: rsa.RSAPrivateKey,
    *,
    chip_id: bytes,
    tcb: bytes,
    now: datetime,
) -> x509.Certificate:
    """Return a chip's certificate: CN SEV-VCEK, P-384, 7 years, no extension but AMD's, signed by the ASK."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(amd_name("SEV-VCEK"))
        .issuer_name(amd_name(f"SEV-{LINE}"))
        .public_key(key)
        .serial_number(1)  # AMD's is 0, which `cryptography` refuses to write
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + 7 * _YEAR)
    )
    for oid, value in vcek_extensions(chip_id=chip_id, tcb=tcb):
        builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), critical=False)
    return builder.sign(ask_key, hashes.SHA384(), rsa_padding=amd_pss())


def ark_crl(ark_key: rsa.RSAPrivateKey, ark: x509.Certificate, now: datetime) -> x509.CertificateRevocationList:
    """Return the ARK's revocation list, which is empty: nothing of this sandbox is ever revoked."""
    return (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ark.subject)
        .last_update(now)
        .next_update(now + _YEAR)
        .add_extension(x509.CRLNumber(1), critical=False)
        .sign(ark_key, hashes.SHA384(), rsa_padding=amd_pss())
    )
