"""A key of a Managed HSM by template: what Resource Manager may do there is a setting of the HSM itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.administration import KeyVaultSetting, KeyVaultSettingsClient
from azure.mgmt.resource.deployments.models import Deployment

from skrkit.cloud import Cloud
from skrkit.policy.templates import cvm_policy
from skrkit.provision import deployment
from skrkit.provision.stage import Stage, set_stage
from skrkit.services import arm
from skrkit.services.vault import key_client
from tests.sandbox.running import staged

STAGE = Stage(hsm="templated")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with staged(tmp_path_factory.mktemp("hsm-key")) as endpoint:
        made = Cloud.sandbox(home=endpoint.home)
        set_stage(made, STAGE)
        yield made


def deploy_key(cloud: Cloud) -> str:
    """Deploy the template of a key; return what the service said of the key, nothing where it was made."""
    given = {"hsmName": STAGE.hsm, "keyName": "by-template", "attestationUri": STAGE.attestation}
    parameters = {name: {"value": value} for name, value in given.items()}
    properties = {"mode": "Incremental", "template": deployment.template("hsm-key"), "parameters": parameters}
    with arm.deployments(cloud) as client:
        poller = client.deployments.begin_create_or_update(
            STAGE.resource_group, "key", Deployment({"properties": properties})
        )
        try:
            poller.result()
        except HttpResponseError:
            listed = [each.as_dict() for each in client.deployment_operations.list(STAGE.resource_group, "key")]
            return json.dumps([each["properties"].get("statusMessage") for each in listed])
    return ""


def allow(cloud: Cloud, value: bool) -> None:
    with KeyVaultSettingsClient(STAGE.vault_url(cloud), cloud.credential(), **cloud.client_options()) as settings:
        known = settings.get_setting("AllowKeyManagementOperationsThroughARM")
        made = KeyVaultSetting(name=known.name, value=value, setting_type=known.setting_type)
        assert settings.update_setting(made).getboolean() is value


def test_a_key_by_template_asks_for_the_setting_and_has_the_policy_of_step_3(cloud: Cloud) -> None:
    assert "enable the setting 'AllowKeyManagementOperationsThroughARM'" in deploy_key(cloud)
    allow(cloud, True)
    try:
        assert deploy_key(cloud) == ""
    finally:
        allow(cloud, False)
    with key_client(cloud, STAGE.vault_url(cloud)) as client:
        key = client.get_key("by-template")
    assert (key.key_type, key.properties.exportable) == ("RSA-HSM", True)
    assert key.properties.release_policy is not None
    policy = json.loads(key.properties.release_policy.encoded_policy)
    assert policy == json.loads(cvm_policy(STAGE.attestation).raw)
