"""The vTPM's part of a guest request: AK and its certificate, quote and PCRs, the certified ephemeral key.

Each check has a step id, which is what a refusal names. The order is that of attestation-and-imds.md 1.9.
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
    from skrkit.evidence.runtime import RuntimeClaims
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


def verify_ak(world: World, tpm: TpmInfo, runtime: RuntimeClaims) -> rsa.RSAPublicKey:
    """Return the AK once hardware and the vTPM authority both vouch for it.

    Steps: `ak.public`, `ak.eq_runtime_claims` (AikPub is HCLAkPub of the hardware-bound claims),
    `ak.certificate_issuer`, `ak.certificate_validity`, `ak.certificate_usage`, `ak.certificate_key`.
    """
    _, key = rsa_public(tpm.ak_public, "ak.public")
    numbers = key.public_numbers()
    try:
        claimed = runtime.key("HCLAkPub").public_numbers()
    except ParseError as cause:
        raise malformed("ak.eq_runtime_claims", cause) from None
    if claimed != (numbers.n, numbers.e):
        raise refused("ak.eq_runtime_claims", "AikPub is not the HCLAkPub of the runtime claims.")
    _verify_ak_certificate(world, tpm.ak_certificate, numbers)
    return key


def _without_padding(der: bytes) -> bytes:
    """Return a DER element without the zeros after it: the NV index is larger than its certificate."""
    if len(der) < 4 or der[:2] != b"\x30\x82" or any(der[4 + int.from_bytes(der[2:4], "big") :]):
        raise refused("ak.certificate_issuer", "AikCert is not one DER certificate with zeros after it.")
    return der[: 4 + int.from_bytes(der[2:4], "big")]


def _verify_ak_certificate(world: World, data: bytes, ak: rsa.RSAPublicNumbers) -> None:
    issuer = world.machines.authority.authorities().issuer
    try:
        certificate = x509.load_der_x509_certificate(_without_padding(data))
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
    if not isinstance(key, rsa.RSAPublicKey) or key.public_numbers() != ak:
        raise refused("ak.certificate_key", "AikCert is not for AikPub.")


def _attest(data: bytes, signature: bytes, ak: rsa.RSAPublicKey, name: str) -> Attest:
    try:
        attest = parse_attest(data)
    except ParseError as cause:
        raise malformed(f"{name}.structure", cause) from None
    try:
        ak.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise refused(f"{name}.signature_by_ak", "the AK did not sign this structure.") from None
    return attest


def verify_quote(tpm: TpmInfo, ak: rsa.RSAPublicKey) -> PcrSelection:
    """Return the quoted selection once the PCR values are the quoted ones.

    Steps: `quote.structure`, `quote.signature_by_ak`, `quote.type`, `quote.pcr_set`, `quote.pcr_digest`.
    """
    quote = _attest(tpm.quote, tpm.quote_signature, ak, "quote")
    if not quote.is_quote:
        raise refused("quote.type", "PcrQuote is not a quote.")
    if [selection.alg for selection in quote.pcr_select] != [_SHA256]:
        raise refused("quote.pcr_set", "the quote must select PCRs of the SHA-256 bank, and of no other.")
    selection = quote.pcr_select[0]
    if not selection.pcrs or set(tpm.pcr_set) != set(selection.pcrs) or tpm.pcrs.keys() != set(selection.pcrs):
        raise refused("quote.pcr_set", "PcrSet, PCRs and the quote do not name the same PCRs.")
    if pcr_digest(tpm.pcrs, selection) != quote.pcr_digest:
        raise refused("quote.pcr_digest", "the values in PCRs are not the quoted ones.")
    return selection


def verify_ephemeral_key(tpm: TpmInfo, ak: rsa.RSAPublicKey, selection: PcrSelection) -> rsa.RSAPublicKey:
    """Return the ephemeral key once the AK vouches that it lives in this vTPM, for these PCR values only.

    Steps: `key.public`, `key.structure`, `key.signature_by_ak`, `key.type`, `key.certified_name`, `key.attributes`,
    `key.policy_pcr`. The real service's own list is not known (inferred).
    """
    public, key = rsa_public(tpm.key_public, "key.public")
    certify = _attest(tpm.key_certify, tpm.key_certify_signature, ak, "key")
    if not certify.is_certify:
        raise refused("key.type", "EncKeyCertifyInfo is not a certification.")
    if certify.certified_name != public.name():
        raise refused("key.certified_name", "EncKeyCertifyInfo names another key than EncKeyPub.")
    if public.attributes & _MUST_BE_SET != _MUST_BE_SET or public.attributes & _MUST_BE_CLEAR:
        raise refused("key.attributes", "EncKeyPub must be a decryption key that is fixed to the TPM and its policy.")
    if public.auth_policy != policy_pcr_digest(selection, pcr_digest(tpm.pcrs, selection)):
        raise refused("key.policy_pcr", "EncKeyPub is not bound to the quoted PCR values.")
    return key
