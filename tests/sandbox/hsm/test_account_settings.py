"""Settings of a Managed HSM by Azure's own client, and what the one that there is does to keys through ARM."""

from __future__ import annotations

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.keyvault.administration import KeyVaultSetting, KeyVaultSettingsClient, KeyVaultSettingType

from tests.sandbox.hsm.azure import HsmAzure
from tests.sandbox.vault.azure import STRANGER, error_of

NAME = "AllowKeyManagementOperationsThroughARM"


@pytest.fixture
def settings(azure: HsmAzure) -> KeyVaultSettingsClient:
    return KeyVaultSettingsClient("https://pool.managedhsm.azure.net", azure.credential(), **azure.options())


def test_the_one_setting_is_off_until_it_is_switched_on(settings: KeyVaultSettingsClient) -> None:
    (found,) = list(settings.list_settings())
    assert (found.name, found.setting_type, found.value, found.getboolean()) == (
        NAME, KeyVaultSettingType.BOOLEAN, "false", False,
    )  # fmt: skip
    assert settings.update_setting(KeyVaultSetting(name=NAME, value=True, setting_type=found.setting_type)).getboolean()
    assert settings.get_setting(NAME).getboolean()


def test_an_answer_is_as_azure_s_recordings_have_it(azure: HsmAzure) -> None:
    assert azure.hsm("GET", f"/settings/{NAME}").json() == {"name": NAME, "type": "boolean", "value": "false"}
    changed = azure.hsm("PATCH", f"/settings/{NAME}", {"value": "true"})
    assert (changed.status_code, changed.json()["value"]) == (200, "true")
    assert azure.hsm("GET", "/settings").json() == {"settings": [{"name": NAME, "type": "boolean", "value": "true"}]}


@pytest.mark.parametrize("value", [True, "True", "", "yes", None, 1])
def test_a_value_is_the_text_true_or_false(azure: HsmAzure, value: object) -> None:
    refused = azure.hsm("PATCH", f"/settings/{NAME}", {"value": value})
    assert error_of(refused)[:2] == (400, "BadParameter")
    assert azure.hsm("GET", f"/settings/{NAME}").json()["value"] == "false"


def test_a_setting_that_there_is_not(settings: KeyVaultSettingsClient) -> None:
    with pytest.raises(ResourceNotFoundError):
        settings.get_setting("AllowEverything")


def test_administrators_alone_may(azure: HsmAzure) -> None:
    assert azure.grant("Crypto User", scope="/", to=STRANGER, guid="aaaaaaaa-0000-4000-8000-000000000002").ok
    for method, path in (("GET", "/settings"), ("GET", f"/settings/{NAME}"), ("PATCH", f"/settings/{NAME}")):
        refused = azure.hsm(method, path, {"value": "true"} if method == "PATCH" else None, principal=STRANGER)
        assert error_of(refused)[:2] == (403, "AccessDenied")
    assert azure.grant("Administrator", scope="/", to=STRANGER, guid="aaaaaaaa-0000-4000-8000-000000000003").ok
    assert azure.hsm("GET", "/settings", principal=STRANGER).ok
    shown = azure.hsm("GET", "/providers/Microsoft.Authorization/roleDefinitions").text
    assert "settings" not in shown  # what no page lists is in no definition


def test_an_hsm_that_was_purged_leaves_no_setting_to_the_next_of_its_name(azure: HsmAzure) -> None:
    assert azure.hsm("PATCH", f"/settings/{NAME}", {"value": "true"}).ok
    subscription = azure.hsm_path().partition("/resourceGroups")[0]
    assert azure.arm("DELETE", f"{azure.hsm_path()}?api-version=2026-05-15").status_code == 202
    place = f"{subscription}/providers/Microsoft.KeyVault/locations/westeurope/deletedManagedHSMs/pool/purge"
    assert azure.arm("POST", f"{place}?api-version=2026-05-15").ok
    assert azure.make_hsm().status_code == 202
    azure.activate()
    assert azure.hsm("GET", f"/settings/{NAME}").json()["value"] == "false"


def test_keys_through_resource_manager_wait_for_the_setting(azure: HsmAzure, settings: KeyVaultSettingsClient) -> None:
    body = {"properties": {"kty": "RSA-HSM", "keySize": 2048}}
    place = f"{azure.hsm_path()}/keys/k?api-version=2026-05-15"
    for method in ("PUT", "GET"):
        refused = azure.arm(method, place, body if method == "PUT" else None)
        assert refused.status_code == 400
        assert f"enable the setting '{NAME}'" in error_of(refused)[3]
    assert azure.hsm("GET", "/keys").json()["value"] == []
    settings.update_setting(KeyVaultSetting(name=NAME, value=True, setting_type=KeyVaultSettingType.BOOLEAN))
    assert azure.arm("PUT", place, body).status_code == 200
    with pytest.raises(HttpResponseError):
        settings.update_setting(KeyVaultSetting(name=NAME, value="maybe"))
