"""`/metadata/attested/document`: what the host says of a VM, signed (PKCS #7), for who asks whether it is in Azure.

Not evidence of the hardware: the host signs it. Source: Azure, "Instance Metadata Service", attested data; RFC 5652.
"""

from __future__ import annotations

import base64
import json
import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder

from skrkit.sandbox import keygen
from skrkit.sandbox.silicon import private_pem

if TYPE_CHECKING:
    from skrkit.sandbox.machine import Machine
    from skrkit.sandbox.store import Document
    from skrkit.sandbox.world import World

KIND = "imds-signing"  # region -> {"key": PEM, "chain": PEM}
_making = threading.Lock()
LIFETIME = timedelta(hours=6)  # as in the documents' example


def attested_document(world: World, vm: Document, machine: Machine, nonce: str) -> dict[str, str]:
    """Return the answer: the encoding's name, and the signature with what it covers and the signer's certificates.

    Its certificate is for `<region>.metadata.azure.com`, below the sandbox's own root (that the service names its
    region so is inferred). There is no time of signing in it, as in the documents' example.
    """
    now = world.now()
    content = json.dumps(_content(vm, machine, nonce or _written(now), now), separators=(",", ":")).encode()
    key, chain = _signer(world, machine.region)
    builder = PKCS7SignatureBuilder().set_data(content).add_signer(chain[0], key, hashes.SHA256())
    for certificate in chain[1:]:
        builder = builder.add_certificate(certificate)
    signed = builder.sign(Encoding.DER, [PKCS7Options.Binary, PKCS7Options.NoAttributes])
    return {"encoding": "pkcs7", "signature": base64.b64encode(signed).decode("ascii")}


def _content(vm: Document, machine: Machine, nonce: str, now: datetime) -> dict[str, Any]:
    parts = str(vm.get("id") or machine.resource_id).split("/")
    properties: Any = vm.get("properties")
    storage: Any = properties.get("storageProfile") if isinstance(properties, dict) else None
    image: Any = storage.get("imageReference") if isinstance(storage, dict) else None
    return {
        "licenseType": "",
        "nonce": nonce,
        "plan": {"name": "", "product": "", "publisher": ""},
        "sku": str(image.get("sku", "")) if isinstance(image, dict) else "",
        "subscriptionId": parts[2] if len(parts) > 2 else "",
        "timeStamp": {"createdOn": _written(now), "expiresOn": _written(now + LIFETIME)},
        "vmId": machine.vm_id,
    }


def _written(at: datetime) -> str:
    return at.strftime("%m/%d/%y %H:%M:%S -0000")


def _signer(world: World, region: str) -> tuple[rsa.RSAPrivateKey, list[x509.Certificate]]:
    """Return the key and the chain of a region: made on first use, kept, and made anew before the certificate ends."""
    with _making:
        document = world.store.get(KIND, region)
        chain = [] if document is None else x509.load_pem_x509_certificates(str(document["chain"]).encode("ascii"))
        now = world.now()
        if not chain or not chain[0].not_valid_before_utc <= now < chain[0].not_valid_after_utc - LIFETIME:
            key = keygen.rsa_key(f"imds/{region}", 2048)
            chain = list(world.tls.issue(name := f"{region}.metadata.azure.com", [name], key=key, now=now).chain)
            pem = b"".join(each.public_bytes(Encoding.PEM) for each in chain).decode("ascii")
            world.store.put(KIND, region, {"key": private_pem(key), "chain": pem})
            return key, chain
    assert document is not None
    loaded = load_pem_private_key(str(document["key"]).encode("ascii"), None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(loaded, rsa.RSAPrivateKey)
    return loaded, chain
