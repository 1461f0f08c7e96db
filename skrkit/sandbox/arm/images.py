"""The images of confidential VMs in the marketplace: names that `az vm create` looks up before it makes a VM.

Source: "Create a confidential VM" in Azure's documents. Each has one version here, whose number is the sandbox's own.
"""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from skrkit.sandbox.arm.call import Call, Handler
from skrkit.sandbox.store import Document
from skrkit.sandbox.web import AzureError

VERSION = "1.0.0"
# publisher, offer, SKU, operating system
IMAGES = (
    ("Canonical", "0001-com-ubuntu-confidential-vm-focal", "20_04-lts-cvm", "Linux"),
    ("Canonical", "0001-com-ubuntu-confidential-vm-jammy", "22_04-lts-cvm", "Linux"),
    ("Canonical", "ubuntu-24_04-lts", "cvm", "Linux"),
    ("MicrosoftWindowsServer", "windowsserver", "2019-datacenter-smalldisk-g2", "Windows"),
    ("MicrosoftWindowsServer", "windowsserver", "2022-datacenter-smalldisk-g2", "Windows"),
    ("RedHat", "rhel-cvm", "9_3_cvm_sev_snp", "Linux"),
    ("RedHat", "rhel-cvm", "9_4_cvm", "Linux"),
)


def list_versions(call: Call) -> Response:
    """Return the one version of an image, as a bare list. Raises `AzureError` 404 for an image that is not here."""
    _, identity = _image(call)
    return JSONResponse([identity])


def get_version(call: Call) -> Response:
    """Return what is known of an image. Raises `AzureError` 404 for one, or a version, that is not here."""
    system, identity = _image(call)
    if call.path["version"] != VERSION:
        raise _not_found(call)
    properties = {
        "architecture": "x64",
        "dataDiskImages": [],
        "features": [{"name": "SecurityType", "value": "ConfidentialVmSupported"}],
        "hyperVGeneration": "V2",
        "osDiskImage": {"operatingSystem": system},
    }
    return JSONResponse(identity | {"properties": properties})


def _image(call: Call) -> tuple[str, Document]:
    """Return the operating system of the path's image, and the members by which Azure names it."""
    asked = tuple(call.path[name].lower() for name in ("publisher", "offer", "sku"))
    for publisher, offer, sku, system in IMAGES:
        if asked == (publisher.lower(), offer, sku.lower()):
            location = call.path["location"]
            base = f"/Subscriptions/{call.world.subscription}/Providers/Microsoft.Compute/Locations/{location}"
            path = f"/Publishers/{publisher}/ArtifactTypes/VMImage/Offers/{offer}/Skus/{sku}/Versions/{VERSION}"
            return system, {"id": base + path, "name": VERSION, "location": location}
    raise _not_found(call)


def _not_found(call: Call) -> AzureError:
    return AzureError(404, "NotFound", f"Artifact: VMImage was not found at '{call.url_path}'.")  # (inferred)


_VERSIONS = (
    "/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}/publishers/{publisher}"
    "/artifacttypes/vmimage/offers/{offer}/skus/{sku}/versions"
)
_READ = "Microsoft.Compute/locations/publishers/artifacttypes/offers/skus/versions/read"
ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", _VERSIONS, _READ, list_versions),
    ("GET", _VERSIONS + "/{version}", _READ, get_version),
)
