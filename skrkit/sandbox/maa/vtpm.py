"""The vTPM's part of a guest request that the verifier does not know: AK certificate, PCR list, ephemeral key.

Each check has a step id, which is what a refusal names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from skrkit.errors import ParseError
from skrkit.sandbox.akcert import AIK_USAGE
from skrkit.sandbox.maa.refusal import malformed, refused
from skrkit.sandbox.maa.request import TpmInfo
from skrkit.tpm.attest import Attest, parse_attest
from skrkit.tpm.pcr import PcrSelection, pcr_digest, policy_pcr_digest
from skrkit.tpm.public import ObjectAttributes, Public, parse_public

if TYPE_CHECKING:
    from skrkit.sandbox.world import World

_SHA256 = 0x000B
_MUST_BE_SET = (
    ObjectAttributes.DECRYPT
    | ObjectAttributes.FIXED_TPM
    | ObjectAttributes.FIXED_PARENT
    | ObjectAttributes.SENSITIVE_DATA_ORIGIN
)
_MUST_BE_CLEAR = (
    ObjectAttributes.USER_WITH_AUTH
    | ObjectAttributes.ADMIN_WITH_POLICY
    | ObjectAttributes.ENCRYPTED_DUPLICATION
    | ObjectAttributes.RESTRICTED
    | ObjectAttributes.SIGN
)


def rsa_public(data: bytes, step: str) -> tuple[Public, rsa.RSAPublicKey]:
    """Return a TPM public area and its RSA-2048 key."""
    try:
        public = parse_public(data)
        modulus, exponent = public.rsa_numbers()
        key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ParseError as cause:
        raise malformed(step, cause) from None
    except ValueError:
        raise refused(step, "the public area holds no RSA key.") from None
    if key.key_size != 2048:
        raise refused(step, "the key must be RSA with 2048 bits.")
    return public, key


def _without_padding(der: bytes) -> bytes:
    """Return a DER element without the zeros after it: the NV index is larger than its certificate."""
    if len(der) < 4 or der[:2] != b"\x30\x82" or any(der[4 + int.from_bytes(der[2:4], "big") :]):
        raise refused("ak.certificate_issuer", "AikCert is not one DER certificate with zeros after it.")
    return der[: 4 + int.from_bytes(der[2:4], "big")]


def verify_ak_certificate(world: World, tpm: TpmInfo) -> rsa.RSAPublicKey:
    """Return the AK once the virtual TPM authority, too, vouches for it.

    That AikPub is the hardware-bound HCLAkPub is a step of the verifier, taken before. Which of the two bindings the
    real service demands is not known (inferred: both). Steps: `ak.public`, `ak.certificate_issuer`,
    `ak.certificate_validity`, `ak.certificate_usage`, `ak.certificate_key`.
    """
    _, ak = rsa_public(tpm.ak_public, "ak.public")
    issuer = world.machines.authority.authorities().issuer
    try:
        certificate = x509.load_der_x509_certificate(_without_padding(tpm.ak_certificate))
        certificate.verify_directly_issued_by(issuer)
        key = certificate.public_key()
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (ValueError, TypeError, InvalidSignature):
        raise refused("ak.certificate_issuer", "AikCert is not a certificate of the virtual TPM authority.") from None
    except x509.ExtensionNotFound:
        raise refused("ak.certificate_usage", "AikCert has no extended key usage.") from None
    now = world.now()
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise refused("ak.certificate_validity", "AikCert is not valid at this time.")
    if AIK_USAGE not in usage:
        raise refused("ak.certificate_usage", "AikCert is not for an attestation identity key (2.23.133.8.3).")
    if not isinstance(key, rsa.RSAPublicKey) or key.public_numbers() != ak.public_numbers():
        raise refused("ak.certificate_key", "AikCert is not for AikPub.")
    return ak


def quoted_selection(tpm: TpmInfo) -> PcrSelection:
    """Return the selection of the quote, which is verified by now, if the request names the same PCRs.

    Step `quote.pcr_set`: one bank, SHA-256, and PcrSet, PCRs and the quote agree.
    """
    chosen = [selection for selection in parse_attest(tpm.quote).pcr_select if selection.pcrs]
    if [selection.alg for selection in chosen] != [_SHA256]:
        raise refused("quote.pcr_set", "the quote must select PCRs of the SHA-256 bank, and of no other.")
    quoted = set(chosen[0].pcrs)
    if set(tpm.pcr_set) != quoted or set(tpm.pcrs) != quoted:
        raise refused("quote.pcr_set", "PcrSet, PCRs and the quote do not name the same PCRs.")
    return chosen[0]


def _certification(tpm: TpmInfo, ak: rsa.RSAPublicKey) -> Attest:
    try:
        certify = parse_attest(tpm.key_certify)
    except ParseError as cause:
        raise malformed("key.structure", cause) from None
    try:
        ak.verify(tpm.key_certify_signature, tpm.key_certify, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise refused("key.signature_by_ak", "the AK did not sign EncKeyCertifyInfo.") from None
    if not certify.is_certify:
        raise refused("key.type", "EncKeyCertifyInfo is not a certification.")
    return certify


def verify_ephemeral_key(tpm: TpmInfo, ak: rsa.RSAPublicKey, selection: PcrSelection) -> rsa.RSAPublicKey:
    """Return the ephemeral key once the AK vouches that it lives in this vTPM, for these PCR values only.

    Steps: `key.public`, `key.structure`, `key.signature_by_ak`, `key.type`, `key.certified_name`, `key.attributes`,
    `key.policy_pcr`. The real service's own list is not known (inferred).
    """
    public, key = rsa_public(tpm.key_public, "key.public")
    certify = _certification(tpm, ak)
    if certify.certified_name != public.name():
        raise refused("key.certified_name", "EncKeyCertifyInfo names another key than EncKeyPub.")
    if public.attributes & _MUST_BE_SET != _MUST_BE_SET or public.attributes & _MUST_BE_CLEAR:
        raise refused("key.attributes", "EncKeyPub must be a decryption key that is fixed to the TPM and its policy.")
    if public.auth_policy != policy_pcr_digest(selection, pcr_digest(tpm.pcrs, selection)):
        raise refused("key.policy_pcr", "EncKeyPub is not bound to the quoted PCR values.")
    return key
