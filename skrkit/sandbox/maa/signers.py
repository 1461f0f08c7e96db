"""Who may sign the policies of an isolated provider: certificates, given when it is made, changed by one of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from skrkit.encoding import json_object
from skrkit.errors import ParseError
from skrkit.sandbox.maa.jws import Opened, bad_chain, bad_token, certificate_of, jwk_of, open_jws, spki_of
from skrkit.sandbox.silicon import certificate_from, certificate_text
from skrkit.sandbox.web import AzureError
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.sandbox.maa.providers import Provider
    from skrkit.sandbox.world import World

KIND = "maa-signers"  # host name in lower case -> {"certificates": [PEM]}
MEMBERS = ("policyCertificate", "maa-policyCertificate", "x-ms-policyCertificate")
"""The three names that documents give to the claim that holds the certificate; the first is the clients' own."""

RESULT = "x-ms-policycertificates-result"
"""The claim that says whether the certificate is there now, as it is called in recordings and by Microsoft's Python
client. The service's newer OpenAPI document calls it x-ms-certificate-result."""


def signers_of(world: World, host: str) -> list[x509.Certificate]:
    """Return the certificates of whoever may sign policies; none for a provider that is not isolated."""
    document = world.store.get(KIND, host)
    return [] if document is None else [certificate_from(text) for text in document["certificates"]]


def keep(world: World, host: str, certificates: list[x509.Certificate]) -> None:
    """Write the signers whole."""
    world.store.put(KIND, host, {"certificates": [certificate_text(one) for one in certificates]})


def certificates_of_jwks(value: Any) -> list[x509.Certificate]:
    """Return the first certificate of each key in a JWK set. Raises `AzureError` 400."""
    keys = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(keys, list) or not keys:
        raise bad_token("A JWK set with x5c is needed for the policy signing certificates")
    return [_first_certificate(key) for key in keys]


def _first_certificate(key: Any) -> x509.Certificate:
    chain = key.get("x5c") if isinstance(key, dict) else None
    if not isinstance(chain, list) or not chain:
        raise bad_token('Could not find "x5c" in the policy certificate')
    return certificate_of(chain[0])


def require_signer(world: World, provider: Provider, opened: Opened) -> None:
    """Refuse what nobody who may has signed. A provider that is not isolated takes everything."""
    if not provider.isolated:
        return
    if opened.signer is None:  # the guide names the code for this case; the words are not known (inferred)
        raise bad_token("The policy must be signed: the provider has policy signers")
    known = {spki_of(one) for one in signers_of(world, provider.host)}
    if opened.certificate is None or spki_of(opened.certificate) not in known:
        raise bad_chain("The requested item is not found Msg:[the token's signer is none of the policy signers]")


def listing(world: World, provider: Provider) -> dict[str, Json]:
    """Return the claims of the answer to `GET /certificates`."""
    keys: list[Json] = [jwk_of([one]) for one in signers_of(world, provider.host)]
    return {"x-ms-policy-certificates": {"keys": keys}}


def change(world: World, provider: Provider, text: str, *, add: bool) -> dict[str, Json]:
    """Return the claims of the answer after a signer was added, or removed.

    To add one that is there, or to remove one that is not, changes nothing. The last one stays (inferred).
    """
    opened = open_jws(text)
    if not provider.isolated:  # code and words are not known (inferred)
        raise AzureError(400, "InvalidOperation", "The provider has no policy signers: it was made without any.")
    require_signer(world, provider, opened)
    certificate = _certificate(opened)
    signers = signers_of(world, provider.host)
    others = [one for one in signers if one != certificate]
    wanted = [*others, certificate] if add else others
    if not wanted:
        raise AzureError(400, "InvalidOperation", "The last policy signer cannot be removed.")
    keep(world, provider.host, wanted)
    result = "IsPresent" if add else "IsAbsent"
    return {"x-ms-certificate-thumbprint": _thumbprint(certificate), RESULT: result}


def _certificate(opened: Opened) -> x509.Certificate:
    try:
        claims = json_object(opened.payload, what="policy token", where="its payload")
    except ParseError as cause:
        raise bad_token(f"the payload is not {cause.expected}") from None
    given = [claims[name] for name in MEMBERS if name in claims]
    if len(given) != 1:
        raise bad_token('Could not find "maa-policyCertificate" claim in policy token')
    return _first_certificate(given[0])


def _thumbprint(certificate: x509.Certificate) -> str:
    """Return the SHA-1 of a certificate in hex, upper case: a name that clients compare, and no proof."""
    der = certificate.public_bytes(Encoding.DER)
    return hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()
