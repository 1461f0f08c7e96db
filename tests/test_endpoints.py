"""The table of Azure's clouds, held against the tables that Microsoft's own libraries have."""

from __future__ import annotations

import pytest
from azure.core import AzureClouds
from azure.identity import AzureAuthorityHosts
from azure.mgmt.core.tools import get_arm_endpoints

from skrkit.cloud import Cloud
from skrkit.doctor.imds import other_cloud
from skrkit.endpoints import CHINA, CLOUDS, PUBLIC, US_GOVERNMENT, Endpoints, chosen_endpoints
from skrkit.errors import UsageError
from skrkit.policy.lint import lint_bytes
from skrkit.policy.templates import cvm_policy
from skrkit.token.providers import ZONES, shared_provider_host


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (PUBLIC, AzureClouds.AZURE_PUBLIC_CLOUD),
        (US_GOVERNMENT, AzureClouds.AZURE_US_GOVERNMENT),
        (CHINA, AzureClouds.AZURE_CHINA_CLOUD),
    ],
)
def test_resource_manager_and_its_audience_are_those_of_azure_mgmt_core(ours: Endpoints, theirs: AzureClouds) -> None:
    known = get_arm_endpoints(theirs)
    assert f"https://{ours.management}" == known["resource_manager"].rstrip("/")
    assert [f"{ours.management_resource}/.default"] == known["credential_scopes"]


def test_the_hosts_of_entra_are_those_of_azure_identity() -> None:
    assert PUBLIC.login == AzureAuthorityHosts.AZURE_PUBLIC_CLOUD
    assert US_GOVERNMENT.login == AzureAuthorityHosts.AZURE_GOVERNMENT
    assert CHINA.login == AzureAuthorityHosts.AZURE_CHINA


def test_the_zones_of_attestation_are_one_table() -> None:
    assert [f".{each.attest_suffix}" for each in CLOUDS.values()] == list(ZONES)
    assert CHINA.inferred == ("attest_suffix",)


@pytest.mark.parametrize(
    ("name", "environment", "chosen"),
    [
        ("", {}, PUBLIC),
        ("azureusgovernment", {}, US_GOVERNMENT),
        ("", {"AZURE_CLOUD_NAME": "AzureChinaCloud"}, CHINA),
        ("", {"AZURE_AUTHORITY_HOST": "https://login.microsoftonline.us/"}, US_GOVERNMENT),
        ("", {"AZURE_AUTHORITY_HOST": "login.partner.microsoftonline.cn"}, CHINA),
        ("AzureCloud", {"AZURE_CLOUD_NAME": "AzureChinaCloud"}, PUBLIC),
    ],
)
def test_a_cloud_is_named_by_option_or_environment(name: str, environment: dict[str, str], chosen: Endpoints) -> None:
    assert chosen_endpoints(name, environment) is chosen


@pytest.mark.parametrize(
    ("name", "environment", "found"),
    [
        ("AzureGermanCloud", {}, "'AzureGermanCloud'"),
        ("", {"AZURE_AUTHORITY_HOST": "login.example.org"}, "'login.example.org'"),
        ("AzureCloud", {"AZURE_AUTHORITY_HOST": "login.microsoftonline.us"}, "login.microsoftonline.us"),
    ],
)
def test_what_names_no_cloud_or_two_is_refused(name: str, environment: dict[str, str], found: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen_endpoints(name, environment)
    assert caught.value.found == found


def test_a_cloud_of_azure_has_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLOUD_NAME", "AzureUSGovernment")
    cloud = Cloud.azure(tenant="t", subscription="s")
    assert cloud.endpoints.vault_url("mine") == "https://mine.vault.usgovcloudapi.net"
    assert Cloud.azure(name="AzureChinaCloud").endpoints.hsm_url("mine") == "https://mine.managedhsm.azure.cn"


def test_a_provider_of_another_cloud_is_refused_and_one_of_nobody_is_not_judged() -> None:
    with pytest.raises(UsageError) as caught:
        US_GOVERNMENT.check_attestation("https://sharedweu.weu.attest.azure.net")
    assert caught.value.found == "one of Azure, the public cloud"
    assert caught.value.fix.endswith("--azure-cloud AzureCloud")
    US_GOVERNMENT.check_attestation("https://sharedugv.ugv.attest.azure.us")
    PUBLIC.check_attestation("https://attest.example.org")


def test_a_region_of_azure_government_has_its_provider() -> None:
    assert shared_provider_host("usgovtexas") == "shareduga.uga.attest.azure.us"


@pytest.mark.parametrize(
    ("environment", "other"),
    [
        ("AZUREPUBLICCLOUD", None),  # as samples of IMDS's documents have it
        ("AzurePublicCloud", None),
        ("AzureUSGovernmentCloud", US_GOVERNMENT),
        ("AzureChinaCloud", CHINA),
        ("", None),
        ("AzureStack", None),
    ],
)
def test_the_doctor_tells_a_vm_of_another_cloud(environment: str, other: Endpoints | None) -> None:
    assert other_cloud(PUBLIC, environment) is other


@pytest.mark.parametrize(
    ("authority", "zone", "ids"),
    [
        ("https://sharedugv.ugv.attest.azure.us", ".attest.azure.us", []),
        ("https://sharedugv.ugv.attest.azure.us", ".attest.azure.net", ["authority.sovereign"]),
        ("https://sharedweu.weu.attest.azure.net", ".attest.azure.us", ["authority.sovereign"]),
        ("https://sharedweu.weu.attest.azure.net", ".attest.azure.net", []),
    ],
)
def test_the_linter_remarks_a_provider_of_another_cloud(authority: str, zone: str, ids: list[str]) -> None:
    findings = lint_bytes(cvm_policy(authority).raw, zone=zone)
    assert [each.id for each in findings if each.id.startswith("authority.")] == ids
