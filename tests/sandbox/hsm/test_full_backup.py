"""Full backup, restore and restore of one key, by Azure's own client with the polling that it does."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.administration import KeyVaultBackupClient, KeyVaultBackupResult

from skrkit.sandbox.hsm.container import BLOB_KIND
from tests.sandbox.hsm.azure import HsmAzure
from tests.sandbox.vault.azure import OPERATOR, STRANGER, SUBSCRIPTION, error_of

CONTAINER = "https://account1.blob.core.windows.net/backups"
AT_ONCE: dict[str, Any] = {"_polling_interval": 0}
SECOND = "aaaaaaaa-0000-4000-8000-000000000002"


def sas(azure: HsmAzure, permissions: str = "crdwl", *, minutes: int = 30, **members: str) -> str:
    """A container's SAS token as `az storage container generate-sas` prints it, but for its signature."""
    ends = azure.world.now() + timedelta(minutes=minutes)
    given = {"se": f"{ends:%Y-%m-%dT%H:%MZ}", "sp": permissions, "sv": "2022-11-02", "sr": "c", "sig": "c2ln"} | members
    return "&".join(f"{name}={value}" for name, value in given.items() if value)


def client(azure: HsmAzure, name: str = "pool", **options: Any) -> KeyVaultBackupClient:
    given = azure.options() | {"retry_total": 0} | options
    return KeyVaultBackupClient(f"https://{name}.managedhsm.azure.net", azure.credential(), **given)


def backed_up(azure: HsmAzure, name: str = "pool") -> str:
    """The address of a new backup's folder."""
    made: KeyVaultBackupResult = client(azure, name).begin_backup(CONTAINER, sas_token=sas(azure), **AT_ONCE).result()
    assert made.folder_url is not None
    return made.folder_url


def test_a_full_restore_is_the_hsm_as_it_was(azure: HsmAzure) -> None:
    keys, roles = azure.hsm_keys(), azure.roles()
    first = keys.create_rsa_key("kept", hardware_protected=True, size=2048, tags={"a": "b"})
    second = keys.create_rsa_key("kept", hardware_protected=True, size=2048)
    gone = keys.create_rsa_key("gone", hardware_protected=True, size=2048)
    keys.begin_delete_key("gone")
    sealed = azure.hsm_cryptography(first).encrypt("RSA-OAEP-256", b"message").ciphertext  # type: ignore[arg-type]
    folder = backed_up(azure)
    assert re.fullmatch(rf"{CONTAINER}/mhsm-pool-\d{{16}}", folder)
    assert azure.grant("Crypto Auditor", to=STRANGER, guid=SECOND).status_code == 201
    keys.create_rsa_key("later", hardware_protected=True, size=2048)
    keys.create_rsa_key("kept", hardware_protected=True, size=2048)
    keys.begin_delete_key("kept").wait()

    client(azure).begin_restore(folder, sas_token=sas(azure, "rl"), **AT_ONCE).wait()
    assert [key.name for key in keys.list_properties_of_keys()] == ["kept"]
    versions = {key.version for key in keys.list_properties_of_key_versions("kept")}
    assert versions == {first.properties.version, second.properties.version}
    assert keys.get_key("kept", str(first.properties.version)).properties.tags == {"a": "b"}
    assert azure.hsm_cryptography(first).decrypt("RSA-OAEP-256", sealed).plaintext == b"message"  # type: ignore[arg-type]
    assert azure.grant("Crypto Officer", to=OPERATOR, guid=SECOND).status_code == 201  # the Auditor's name is free
    assert [key.name for key in keys.list_deleted_keys()] == [gone.name]
    assert {str(each.properties.principal_id) for each in roles.list_role_assignments("/keys") if each.properties} == {
        OPERATOR.oid
    }


def test_one_key_comes_back_with_all_its_versions_and_nothing_else_changes(officer: HsmAzure) -> None:
    keys = officer.hsm_keys()
    for name in ("one", "one", "two"):
        keys.create_rsa_key(name, hardware_protected=True, size=2048)
    folder = backed_up(officer)
    versions = {key.version for key in keys.list_properties_of_key_versions("one")}
    restore = {"sas_token": sas(officer, "rl"), **AT_ONCE}
    for name in ("one", "two"):
        keys.begin_delete_key(name).wait()
    with pytest.raises(HttpResponseError, match="deleted but recoverable"):
        client(officer).begin_restore(folder, key_name="one", **restore).wait()
    keys.purge_deleted_key("one")
    client(officer).begin_restore(folder, key_name="one", **restore).wait()
    assert {key.version for key in keys.list_properties_of_key_versions("one")} == versions
    assert [key.name for key in keys.list_properties_of_keys()] == ["one"]
    keys.create_rsa_key("one", hardware_protected=True, size=2048)
    said = started(officer, "PUT", "/keys/one/restore", folder=folder.rpartition("/")[2])
    assert said["statusDetails"] == (
        "Number of successful key versions restored: 0, Number of key versions could not overwrite: 2"
    )
    with pytest.raises(HttpResponseError, match="has no key of this name"):
        client(officer).begin_restore(folder, key_name="three", **restore).wait()


@pytest.fixture
def officer(azure: HsmAzure) -> HsmAzure:
    """The operator may recover and purge too."""
    assert azure.grant("Crypto Officer", guid=SECOND).status_code == 201
    return azure


def started(azure: HsmAzure, method: str, path: str, token: str = "", **members: Any) -> dict[str, Any]:
    """What a job says in the end. The request is as the Azure CLI's in recordings: the token with a question mark."""
    where = {"storageResourceUri": CONTAINER, "token": f"?{token or sas(azure)}"}
    answer = azure.hsm(method, path, {"sasTokenParameters": where, **members} if members else where)
    assert answer.status_code == 202, answer.text
    begun = answer.json()
    url = answer.headers["azure-asyncoperation"]
    kind = "restore" if members else "backup"
    assert url == f"https://pool.managedhsm.azure.net/{kind}/{begun['jobId']}/pending"
    assert re.fullmatch(r"[0-9a-f]{32}", begun["jobId"])
    own = {"azureStorageBlobContainerUri": None} if kind == "backup" else {}
    at = int(azure.world.now().timestamp())
    assert begun == own | {
        "status": "InProgress", "statusDetails": None, "error": None, "startTime": at, "endTime": None,
        "jobId": begun["jobId"],
    }  # fmt: skip
    found = azure.hsm("GET", url.removeprefix("https://pool.managedhsm.azure.net"), api="")  # as Azure writes it
    assert found.status_code == 200
    ended: dict[str, Any] = found.json()
    assert ended.keys() == begun.keys()
    assert (ended["startTime"], ended["endTime"], ended["jobId"]) == (at, at, begun["jobId"])
    return ended


def test_a_job_speaks_as_azure_s_do_in_recordings(azure: HsmAzure) -> None:
    done = started(azure, "POST", "/backup")
    assert (done["status"], done["statusDetails"], done["error"]) == ("Succeeded", None, None)
    folder = done["azureStorageBlobContainerUri"].rpartition("/")[2]
    assert folder.startswith(f"mhsm-pool-{azure.world.now():%Y%m%d%H%M}")
    assert started(azure, "PUT", "/restore", folderToRestore=folder)["status"] == "Succeeded"
    nothing = started(azure, "POST", "/backup", token="no-token-at-all")
    assert (nothing["status"], nothing["statusDetails"]) == ("Failed", "ResourceNotFound")
    checked = started(azure, "POST", "/prebackup")
    assert (checked["status"], checked["azureStorageBlobContainerUri"]) == ("Succeeded", None)
    assert azure.hsm("GET", f"/restore/{done['jobId']}/pending").status_code == 404
    assert azure.hsm("GET", f"/backup/{'0' * 32}/pending").status_code == 404


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"minutes": -1}, "AuthenticationFailed"),
        ({"st": "2199-01-01T00:00Z"}, "AuthenticationFailed"),
        ({"se": ""}, "AuthenticationFailed"),
        ({"se": "tomorrow"}, "AuthenticationFailed"),
        ({"permissions": "rl"}, "AuthorizationPermissionMismatch"),
        ({"sp": ""}, "AuthorizationPermissionMismatch"),
        ({"sig": ""}, "ResourceNotFound"),
    ],
)
def test_a_sas_token_that_would_not_do_fails_the_job(azure: HsmAzure, given: dict[str, Any], said: str) -> None:
    ended = started(azure, "POST", "/backup", token=sas(azure, **given))
    assert (ended["status"], ended["error"]["code"]) == ("Failed", said)
    assert azure.world.store.list(BLOB_KIND, "") == []
    with pytest.raises(HttpResponseError):
        client(azure).begin_pre_backup(CONTAINER, sas_token=sas(azure, **given), **AT_ONCE).wait()


@pytest.mark.parametrize(
    "address",
    ["http://account1.blob.core.windows.net/backups", "https://account1.blob.core.windows.net", "backups", None, 7,
     "https://account1.blob.core.windows.net/backups/deeper", "https://account1.example.net/backups",
     "https://user@account1.blob.core.windows.net/backups", "https://account1.blob.core.windows.net/backups?x=1",
     "https://account1.blob.core.windows.net/../backups", "https://[/"],
)  # fmt: skip
def test_an_address_that_is_no_container_s_is_refused_at_once(azure: HsmAzure, address: Any) -> None:
    refused = azure.hsm("POST", "/backup", {"storageResourceUri": address, "token": sas(azure)})
    assert error_of(refused)[:2] == (400, "BadParameter")


@pytest.mark.parametrize("folder", ["", "../backups", "a/b", None, 7, "x" * 200])
def test_a_folder_that_is_none_is_refused_at_once(azure: HsmAzure, folder: Any) -> None:
    where = {"storageResourceUri": CONTAINER, "token": sas(azure)}
    for method, path, name in (("PUT", "/restore", "folderToRestore"), ("PUT", "/keys/k/restore", "folder")):
        assert error_of(azure.hsm(method, path, {"sasTokenParameters": where, name: folder}))[0] == 400


def test_neither_token_nor_identity(azure: HsmAzure) -> None:
    refused = azure.hsm("POST", "/backup", {"storageResourceUri": CONTAINER, "useManagedIdentity": False})
    assert error_of(refused)[:2] == (400, "BadParameter")


def test_the_hsm_s_own_identity_does_where_it_has_one(azure: HsmAzure) -> None:
    def by_identity() -> Any:
        return client(azure).begin_backup(CONTAINER, use_managed_identity=True, **AT_ONCE).result()

    with pytest.raises(HttpResponseError, match="no user-assigned managed identity"):
        by_identity()
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
    identity = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/backs-up"
    assert azure.arm("PUT", f"{identity}?api-version=2024-11-30", {"location": "westeurope"}).status_code == 201
    place = f"{azure.hsm_path()}?api-version=2026-05-15"
    given = {"identity": {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}}
    changed = azure.arm("PATCH", place, given)
    assert changed.status_code == 200, changed.text
    assert changed.json()["identity"]["userAssignedIdentities"].keys() == {identity}
    assert by_identity().folder_url.startswith(f"{CONTAINER}/mhsm-pool-")
    assert azure.arm("PATCH", place, {"identity": {"type": "SystemAssigned"}}).status_code == 400
    assert azure.arm("PATCH", place, {"identity": {"type": "None"}}).json().get("identity") is None


def test_a_restore_asks_for_a_backup_of_the_hsm_itself_and_for_the_same_security_domain(azure: HsmAzure) -> None:
    folder = backed_up(azure)
    assert azure.make_hsm("other").status_code == 202
    azure.activate("other")
    restore = {"sas_token": sas(azure, "rl"), **AT_ONCE}
    with pytest.raises(HttpResponseError, match="must have been made before a restore"):
        client(azure, "other").begin_restore(folder, **restore).wait()
    backed_up(azure, "other")
    for begin in (client(azure, "other").begin_restore, client(azure, "other").begin_pre_restore):
        with pytest.raises(HttpResponseError, match="another security domain"):
            begin(folder, **restore).wait()
    client(azure).begin_pre_restore(folder, **restore).wait()


def test_a_backup_that_was_changed_restores_nothing(azure: HsmAzure) -> None:
    azure.hsm_keys().create_rsa_key("kept", hardware_protected=True, size=2048)
    folder = backed_up(azure)
    ((place, blob),) = azure.world.store.list(BLOB_KIND, "")
    other = "A" if blob["blob"][-20] != "A" else "B"
    azure.world.store.put(BLOB_KIND, place, blob | {"blob": blob["blob"][:-20] + other + blob["blob"][-19:]})
    with pytest.raises(HttpResponseError, match="damaged"):
        client(azure).begin_restore(folder, sas_token=sas(azure, "rl"), **AT_ONCE).wait()
    assert [key.name for key in azure.hsm_keys().list_properties_of_keys()] == ["kept"]


def test_no_token_is_kept(azure: HsmAzure) -> None:
    backed_up(azure)
    client(azure).begin_pre_backup(CONTAINER, sas_token=sas(azure, sig="secretsignature"), **AT_ONCE).wait()
    kept = azure.world.store.list("hsm-job", "")
    assert len(kept) == 2
    assert "secretsignature" not in json.dumps(kept)
    assert "PRIVATE" not in json.dumps(azure.world.store.list(BLOB_KIND, ""))


def test_the_azure_cli_asks_in_a_version_of_its_own(azure: HsmAzure) -> None:
    where = {"storageResourceUri": CONTAINER, "token": sas(azure)}
    assert azure.hsm("POST", "/backup", where, api="7.5-preview.1").status_code == 202
    assert error_of(azure.hsm("POST", "/backup", where, api=""))[:2] == (400, "BadParameter")


@pytest.mark.parametrize(
    ("role", "may"),
    [("Backup", ("backup",)), ("Restore", ("restore",)), ("Administrator", ("backup", "restore")), ("Crypto User", ())],
)
def test_who_may_start_a_backup_and_a_restore(azure: HsmAzure, role: str, may: tuple[str, ...]) -> None:
    assert azure.grant(role, scope="/", to=STRANGER, guid=SECOND).status_code == 201
    where = {"storageResourceUri": CONTAINER, "token": sas(azure)}
    bodies = {"backup": ("POST", where), "restore": ("PUT", {"sasTokenParameters": where, "folderToRestore": "f"})}
    for kind, (method, body) in bodies.items():
        answer = azure.hsm(method, f"/{kind}", body, principal=STRANGER)
        assert answer.status_code == (202 if kind in may else 403), (kind, answer.text)
