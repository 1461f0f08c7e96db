"""What a VM is told by IMDS, against Azure's published OpenAPI document of it (InstanceMetadataService 2023-07-01).

No client package carries these shapes, so they stand here: each name with what it holds, every value a text.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from skrkit.sandbox.cast import ensure_cast
from skrkit.sandbox.store import Store
from skrkit.sandbox.tls import TlsAuthority
from skrkit.sandbox.world import World
from tests.sandbox.maa.asgi_call import Answer
from tests.sandbox.test_imds import NOW, OID, RESOURCE_ID, TOKEN, VAULT, VM, FakeMachines, get

TEXT = "text"


def texts(names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), TEXT)


DISK = {
    "caching": TEXT, "createOption": TEXT, "diskSizeGB": TEXT, "image": {"uri": TEXT},
    "managedDisk": {"id": TEXT, "storageAccountType": TEXT}, "name": TEXT, "vhd": {"uri": TEXT},
    "writeAcceleratorEnabled": TEXT,
}  # fmt: skip
COMPUTE: dict[str, Any] = {
    **texts(
            "azEnvironment evictionPolicy isHostCompatibilityLayerVm licenseType location "
            "name offer osType placementGroupId platformFaultDomain platformSubFaultDomain "
            "platformUpdateDomain priority provider publisher resourceGroupName resourceId "
            "sku subscriptionId tags userData version vmId vmScaleSetName vmSize zone"
        ),
    "extendedLocation": {"type": TEXT, "name": TEXT},
    "osProfile": {"adminUsername": TEXT, "computerName": TEXT, "disablePasswordAuthentication": TEXT},
    "plan": {"name": TEXT, "publisher": TEXT, "product": TEXT},
    "publicKeys": [{"path": TEXT, "keyData": TEXT}],
    "securityProfile": {
        "secureBootEnabled": TEXT, "virtualTpmEnabled": TEXT, "encryptionAtHost": TEXT, "securityType": TEXT,
    },
    "host": {"id": TEXT},
    "hostGroup": {"id": TEXT},
    "storageProfile": {
        "imageReference": texts(
            "id offer publisher sku version communityGalleryImageId sharedGalleryImageId "
            "exactVersion"
        ),
        "osDisk": {
            **DISK, "osType": TEXT, "diffDiskSettings": {"option": TEXT},
            "encryptionSettings": {
                "enabled": TEXT,
                "diskEncryptionKey": {"sourceVault": {"id": TEXT}, "secretUrl": TEXT},
                "keyEncryptionKey": {"sourceVault": {"id": TEXT}, "keyUrl": TEXT},
            },
        },
        "dataDisks": [{
            **DISK, "bytesPerSecondThrottle": TEXT, "diskCapacityBytes": TEXT, "isSharedDisk": TEXT,
            "isUltraDisk": TEXT, "lun": TEXT, "opsPerSecondThrottle": TEXT,
        }],
        "resourceDisk": {"size": TEXT},
    },
    "tagsList": [{"name": TEXT, "value": TEXT}],
    "virtualMachineScaleSet": {"id": TEXT},
    "additionalCapabilities": {"hibernationEnabled": TEXT},
}  # fmt: skip
NETWORK = {
    "interface": [
        {
            "ipv4": {
                "ipAddress": [{"privateIpAddress": TEXT, "publicIpAddress": TEXT}],
                "subnet": [{"address": TEXT, "prefix": TEXT}],
            },
            "ipv6": {"ipAddress": [{"privateIpAddress": TEXT}]},
            "macAddress": TEXT,
        }
    ]
}
ON_THE_PAGE_ALONE = {"customData"}
"""What Azure's page of the service lists, and its OpenAPI document does not."""
NOT_SAID = {"host", "hostGroup"}
"""What is there for a VM on a dedicated host alone."""
TOKEN_ANSWER = texts("access_token expires_in expires_on ext_expires_in not_before resource token_type client_id")
ERRORS = (
    "invalid_request", "unauthorized_client", "access_denied", "unsupported_response_type", "invalid_scope",
    "server_error", "service_unavailable", "bad_request", "forbidden", "not_found", "method_not_allowed",
    "too_many_requests",
)  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = Store(tmp_path / "state.db")
    tenant = ensure_cast(store, NOW)["tenant"]
    disk = {"lun": 0, "name": "data", "caching": "ReadOnly", "createOption": "Empty", "diskSizeGB": 32}
    vm = json.loads(json.dumps(VM))
    vm["properties"]["storageProfile"]["dataDisks"] = [disk]
    vm["properties"]["osProfile"]["linuxConfiguration"]["ssh"] = {"publicKeys": [{"path": "p", "keyData": "ssh-rsa A"}]}
    store.put("arm", RESOURCE_ID.lower(), vm)
    store.put("principal", OID, {"oid": OID, "appid": "app-1", "tid": tenant, "mirid": RESOURCE_ID})
    machines = cast(Any, FakeMachines())
    tls = TlsAuthority(store, lambda: NOW)
    yield World(home=tmp_path, store=store, tls=tls, silicon=cast(Any, None), machines=machines, now=lambda: NOW)
    store.close()


def unlike(shape: Any, value: Any, at: str = "") -> Iterator[str]:
    """Yield what of a value is not as the shape has it: members unknown, or of another type."""
    if shape is TEXT:
        yield from () if isinstance(value, str) else (f"{at}: a text is expected, not {value!r}",)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{at}: a list is expected, not {value!r}"
            return
        for index, each in enumerate(value):
            yield from unlike(shape[0], each, f"{at}/{index}")
    elif not isinstance(value, dict):
        yield f"{at}: an object is expected, not {value!r}"
    else:
        for name, each in value.items():
            yield from unlike(shape[name], each, f"{at}/{name}") if name in shape else (f"{at}/{name}: unknown",)


def answered(world: World, path: str, status: int = 200) -> Answer:
    found = get(world, path)
    assert found.status == status, found.body
    assert found.headers["content-type"] == "application/json; charset=utf-8"
    return found


def test_the_instance(world: World) -> None:
    said = answered(world, "/metadata/instance?api-version=2023-07-01").json()
    assert said.keys() == {"compute", "network"}
    assert list(unlike({**COMPUTE, **dict.fromkeys(ON_THE_PAGE_ALONE, TEXT)}, said["compute"])) == []
    assert list(unlike(NETWORK, said["network"])) == []
    assert COMPUTE.keys() - said["compute"].keys() == NOT_SAID
    (disk,) = said["compute"]["storageProfile"]["dataDisks"]
    assert (disk["lun"], disk["name"], disk["diskSizeGB"], disk["caching"]) == ("0", "data", "32", "ReadOnly")
    assert said["compute"]["publicKeys"] == [{"path": "p", "keyData": "ssh-rsa A"}]
    leaf = get(world, "/metadata/instance/compute/storageProfile/osDisk/osType?api-version=2023-07-01&format=text")
    assert leaf.body == b"Linux"


def test_the_comparison_sees_what_differs() -> None:
    wrong = {"zone": 1, "tagsList": {}, "plan": "p", "speed": "high"}
    assert sorted(unlike(COMPUTE, wrong)) == [
        "/plan: an object is expected, not 'p'",
        "/speed: unknown",
        "/tagsList: a list is expected, not {}",
        "/zone: a text is expected, not 1",
    ]


def test_a_token(world: World) -> None:
    """Each number is a text. `refresh_token`, empty, is on Azure's page of managed identities alone."""
    said = answered(world, f"{TOKEN}&resource={VAULT}").json()
    assert said.pop("refresh_token") == ""
    assert said.keys() == TOKEN_ANSWER.keys()
    assert list(unlike(TOKEN_ANSWER, said)) == []
    assert all(re.fullmatch(r"[0-9]+", said[name]) for name in ("expires_in", "expires_on", "not_before"))


def test_versions_and_identity(world: World) -> None:
    assert list(unlike({"apiVersions": [TEXT]}, answered(world, "/metadata/versions").json())) == []
    info = answered(world, "/metadata/identity/info?api-version=2018-02-01").json()
    assert (info.keys(), list(unlike({"tenantId": TEXT}, info))) == ({"tenantId"}, [])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/metadata/instance?api-version=1999-01-01", 400),
        ("/metadata/instance/nothing?api-version=2023-07-01", 404),
        ("/metadata/attested/document?api-version=2023-07-01&nonce=a-b", 400),
        ("/metadata/attested/document?api-version=2018-04-02", 404),
    ],
)
def test_an_error_is_a_text(world: World, path: str, status: int) -> None:
    said = answered(world, path, status).json()
    assert isinstance(said.pop("error"), str)
    assert said.keys() <= {"newest-versions"}


@pytest.mark.parametrize("query", ["", "&resource=https://vault.azure.net&client_id=nobody"])
def test_an_error_about_identity_is_one_of_the_published(world: World, query: str) -> None:
    said = answered(world, TOKEN + query, 400).json()
    assert said.keys() == {"error", "error_description"}
    assert said["error"] in ERRORS


# --- the attested document -----------------------------------------------------------------------------------


def attested(world: World, folder: Path, query: str = "") -> Any:
    """Return what the document says, once OpenSSL has verified it up to the sandbox's root."""
    if shutil.which("openssl") is None:
        pytest.skip("NO OPENSSL: the attested document was not verified by it.")
    said = answered(world, f"/metadata/attested/document?api-version=2021-02-01{query}").json()
    assert (said.keys(), said["encoding"]) == ({"encoding", "signature"}, "pkcs7")
    (folder / "signature").write_bytes(base64.b64decode(said["signature"], validate=True))
    (folder / "root.pem").write_bytes(world.tls.root_pem)
    command = ["openssl", "cms", "-verify", "-inform", "DER", "-in", "signature", "-CAfile", "root.pem"]
    command += ["-purpose", "any", "-signer", "signer.pem", "-attime", str(int(world.now().timestamp()))]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_attested_document_is_verified_by_a_stranger(world: World, tmp_path: Path) -> None:
    said = attested(world, tmp_path, "&nonce=1234567890")
    assert said == {
        "licenseType": "", "nonce": "1234567890", "plan": {"name": "", "product": "", "publisher": ""}, "sku": "s",
        "subscriptionId": "s-1", "vmId": "6506b531-1634-431e-99d2-42b7d3414ad0",
        "timeStamp": {"createdOn": "11/24/26 12:00:00 -0000", "expiresOn": "11/24/26 18:00:00 -0000"},
    }  # fmt: skip
    subject = ["openssl", "x509", "-in", str(tmp_path / "signer.pem"), "-noout", "-ext", "subjectAltName"]
    shown = subprocess.run(subject, capture_output=True, text=True, check=True).stdout
    assert "DNS:westeurope.metadata.azure.com" in shown


def test_without_a_nonce_it_has_the_time(world: World, tmp_path: Path) -> None:
    assert attested(world, tmp_path)["nonce"] == "11/24/26 12:00:00 -0000"


def test_the_signer_is_kept_and_renewed(world: World, tmp_path: Path) -> None:
    attested(world, tmp_path)
    first = (tmp_path / "signer.pem").read_bytes()
    attested(world, tmp_path)
    assert (tmp_path / "signer.pem").read_bytes() == first
    world.now = lambda: datetime(2026, 11, 24, 12, 0, tzinfo=UTC) + timedelta(days=364, hours=20)
    later = attested(world, tmp_path)
    assert (tmp_path / "signer.pem").read_bytes() != first
    assert later["timeStamp"]["createdOn"].startswith("11/24/27 08:00")
