"""The security domain: its download, which activates an HSM, and its upload, which makes another HSM of the same.

What leaves the HSM is its domain's key, sealed to nobody but a quorum of the recipients: a master key is split by
Shamir's scheme, each share is a JWE for one certificate, and what the domain consists of is a JWE for a key derived of
the master key. Documents and algorithms are those that the Azure CLI reads and writes; which parts a real domain has,
and under which tags, is not known: here it is one.

Texts of refusals are not known (inferred).
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from starlette.responses import JSONResponse, Response

from skrkit.encoding import b64url, b64url_bytes
from skrkit.errors import ParseError
from skrkit.sandbox import chance, keygen
from skrkit.sandbox.hsm import sealing, sharing
from skrkit.sandbox.hsm.resource import HsmResource, activate
from skrkit.sandbox.vault.call import Call
from skrkit.sandbox.vault.errors import bad_parameter
from skrkit.sandbox.web import AzureError

TAG = "skrkit-sandbox-domain"
KDF, SCHEME, VERSION = "sp108_kdf", "shamir_share", 2
RECIPIENTS, MIN_QUORUM = range(3, 11), 2
MIN_RSA_BITS = 2048
KEY_BYTES = 32
TRANSFER_KIND = "hsm-transfer"  # name in lower case -> {"pem", "certificate"}: whom shares are sealed to for an upload
_DONE = {"status": "Success", "status_details": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One of those who together hold the security domain. `thumbprint` is the certificate's SHA-256 in base64url."""

    key: rsa.RSAPublicKey
    thumbprint: str


def download(call: Call) -> Response:
    """Return 202 with the security domain, sealed to the recipients; from then on the HSM is active.

    An active HSM gives its domain out again, to whatever recipients are named.
    """
    hsm = _hsm(call)
    recipients, quorum = _recipients(call.body.get("certificates")), _quorum(call.body)
    if quorum > len(recipients):
        raise bad_parameter(f"The property 'required' is {quorum}, for {len(recipients)} certificates.")
    with call.lock:
        key = hsm.domain_key or chance.token_bytes("hsm/domain", KEY_BYTES)
        document = {"value": json.dumps(_sealed(key, recipients, quorum))}
        if not hsm.activated:
            activate(call.world, hsm, key)
    return JSONResponse(document, 202, headers=_poll_at(call, "download"))


def _hsm(call: Call) -> HsmResource:
    assert isinstance(call.vault, HsmResource)
    return call.vault


def _poll_at(call: Call, what: str) -> dict[str, str]:
    url = f"{call.vault.url}/securitydomain/{what}/pending?api-version={call.api_version}"
    return {"Azure-AsyncOperation": url, "Retry-After": "0"}


def _sealed(key: bytes, recipients: list[Recipient], quorum: int) -> dict[str, Any]:
    master = chance.token_bytes("hsm/domain-master", KEY_BYTES)
    random = chance.token_bytes("hsm/shares", sharing.RANDOM_BYTES * len(master) * (quorum - 1))
    shares = sharing.split(master, quorum=quorum, shares=len(recipients), random=random)
    sealed = [
        {"enc_key": sealing.sealed_for(share, each.key, kid=each.thumbprint), "x5t_256": each.thumbprint}
        for each, share in zip(recipients, shares, strict=True)
    ]
    datum = {"compact_jwe": sealing.sealed_with(key, sealing.derived(master, TAG), kid=TAG), "tag": TAG}
    return {
        "EncData": {"data": [datum], "kdf": KDF},
        "SharedKeys": {"enc_shares": sealed, "key_algorithm": SCHEME, "required": quorum},
        "version": VERSION,
    }


def _quorum(body: dict[str, Any]) -> int:
    given = body.get("required", MIN_QUORUM)
    if not isinstance(given, int) or isinstance(given, bool) or not MIN_QUORUM <= given < RECIPIENTS.stop:
        raise bad_parameter(f"The property 'required' must be between {MIN_QUORUM} and {RECIPIENTS.stop - 1}.")
    return given


def _recipients(given: Any) -> list[Recipient]:
    if not isinstance(given, list) or len(given) not in RECIPIENTS:
        raise bad_parameter("The property 'certificates' must have 3 to 10 certificates, each as a JSON Web Key.")
    found = [_recipient(entry, place) for place, entry in enumerate(given)]
    numbers = {each.key.public_numbers().n for each in found}
    if len(numbers) != len(found):  # else one holder would have two shares
        raise bad_parameter("The property 'certificates' has the same key twice.")
    return found


def _recipient(entry: Any, place: int) -> Recipient:
    where = f"certificates[{place}]"
    chain = entry.get("x5c") if isinstance(entry, dict) else None
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(chain[0], validate=True))  # type: ignore[index]
        key = certificate.public_key()
    except (TypeError, ValueError, IndexError, KeyError):
        raise bad_parameter(f"{where}: 'x5c' does not begin with a certificate in base64.") from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < MIN_RSA_BITS:
        raise bad_parameter(f"{where}: the certificate must have an RSA key of {MIN_RSA_BITS} bits or more.")
    thumbprint = b64url(certificate.fingerprint(hashes.SHA256()))
    if entry.get("x5t#S256") != thumbprint:
        raise bad_parameter(f"{where}: 'x5t#S256' is not the certificate's.")
    if entry.get("kty") != "RSA" or not _same_modulus(entry.get("n"), key):
        raise bad_parameter(f"{where}: 'n' is not the certificate's.")
    return Recipient(key=key, thumbprint=thumbprint)


def _same_modulus(n: Any, key: rsa.RSAPublicKey) -> bool:
    try:
        return int.from_bytes(b64url_bytes(str(n), what="JWK n", where="/n"), "big") == key.public_numbers().n
    except ParseError:
        return False


def download_status(call: Call) -> Response:
    """Return how the download goes: it is done. Raises 404 where nobody asked for it."""
    return _status(call, "download")


def _status(call: Call, what: str) -> Response:
    if not _hsm(call).activated:
        raise AzureError(404, "NotFound", f"There is no {what} of a security domain")
    return JSONResponse(_DONE)


# --- upload: the same security domain in an HSM that has none yet


def transfer_key(call: Call) -> Response:
    """Return the key that a domain is sealed to for an upload: this HSM's own, made on first use.

    It is a JSON Web Key as a text, as the Azure CLI reads it; the published shape has an object in its place.
    """
    certificate = x509.load_pem_x509_certificate(_transfer(call)["certificate"].encode("ascii"))
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    numbers = key.public_numbers()
    jwk = {
        "kid": b64url(certificate.fingerprint(hashes.SHA256())),
        "kty": "RSA",
        "key_ops": ["wrapKey", "encrypt"],
        "alg": "RSA-OAEP-256",
        "n": b64url(numbers.n.to_bytes(key.key_size // 8, "big")),
        "e": b64url(numbers.e.to_bytes(3, "big")),
        "x5c": [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode("ascii")],
        "x5t#S256": b64url(certificate.fingerprint(hashes.SHA256())),
    }
    return JSONResponse({"key_format": "jwk", "transfer_key": json.dumps(jwk)})


def _transfer(call: Call) -> dict[str, str]:
    hsm = _hsm(call)
    with call.lock:
        document = call.world.store.get(TRANSFER_KIND, hsm.name)
        if document is None:
            key = keygen.rsa_key("hsm/transfer", 2048)
            issued = call.world.tls.issue(hsm.host, [hsm.host], key=key, now=call.world.now())
            document = {
                "pem": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii"),
                "certificate": issued.chain[0].public_bytes(Encoding.PEM).decode("ascii"),
            }
            call.world.store.put(TRANSFER_KIND, hsm.name, document)
    return document


def upload(call: Call) -> Response:
    """Return 202 after a security domain that a quorum opened, and sealed to the transfer key, became this HSM's.

    `value` is a JSON text: `EncData` as in the downloaded document, under another master key, and in `WrappedKey` that
    master key as a JWE for the transfer key.
    """
    hsm = _hsm(call)
    if hsm.activated:
        raise AzureError(409, "Conflict", "The HSM has a security domain already")
    private = load_pem_private_key(_transfer(call)["pem"].encode("ascii"), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    key = _key_in(_uploaded(call.body.get("value")), private)
    with call.lock:
        activate(call.world, hsm, key)
    return JSONResponse(_DONE, 202, headers=_poll_at(call, "upload"))


def _key_in(document: dict[str, Any], private: rsa.RSAPrivateKey) -> bytes:
    """Return the domain's key in an uploaded document. Raises `AzureError` 400."""
    try:
        master = sealing.opened(str(document["WrappedKey"]["enc_key"]), private)
        if document["EncData"]["kdf"] != KDF:
            raise bad_parameter(f"The property 'kdf' must be '{KDF}'.")
        (datum,) = (each for each in document["EncData"]["data"] if each["tag"] == TAG)
        key = sealing.opened(str(datum["compact_jwe"]), sealing.derived(master, TAG))
    except (sealing.NotOpened, KeyError, TypeError, ValueError):
        raise bad_parameter("The document is not a security domain for this HSM's transfer key, or damaged.") from None
    if len(key) != KEY_BYTES:
        raise bad_parameter("The document is no security domain of a Managed HSM of this sandbox.")
    return key


def _uploaded(value: Any) -> dict[str, Any]:
    try:
        document = json.loads(value if isinstance(value, str) else "")
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise bad_parameter("The property 'value' is not a security domain: a JSON object as text.")
    return document


def upload_status(call: Call) -> Response:
    """Return how the upload goes: it is done. Raises 404 where there was none."""
    return _status(call, "upload")


# method, path, the data action that a local role must cover, handler
ROUTES = (
    ("POST", "/securitydomain/download", "securitydomain/download/action", download),
    ("GET", "/securitydomain/download/pending", "securitydomain/download/action", download_status),
    ("GET", "/securitydomain/upload", "securitydomain/transferkey/read", transfer_key),
    ("POST", "/securitydomain/upload", "securitydomain/upload/action", upload),
    ("GET", "/securitydomain/upload/pending", "securitydomain/upload/read", upload_status),
)
