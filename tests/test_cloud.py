"""The switch: what each world's clients are led to, whatever the environment says, and who they are."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from azure.keyvault.keys import KeyClient

import skrkit
from skrkit import cloud as cloud_module
from skrkit.cloud import NOT_IMDS, Cloud, connect
from skrkit.endorsements.roots import AMD_ROOTS
from skrkit.errors import ServiceError, UsageError
from skrkit.provision.stage import Stage
from skrkit.sandbox.endpoint import Endpoint
from skrkit.services import arm
from skrkit.services.imds import check_machine, fetch_instance
from skrkit.services.rest import send_request
from skrkit.walkthrough import Walk
from tests.sandbox.running import staged

STAGE = Stage()
DEAD = "http://127.0.0.1:9"
MISLEADING = {
    "NO_PROXY": "*",
    "no_proxy": "*",
    "HTTPS_PROXY": DEAD,
    "HTTP_PROXY": DEAD,
    "ALL_PROXY": DEAD,
    "REQUESTS_CA_BUNDLE": "/nonexistent.pem",
    "CURL_CA_BUNDLE": "/nonexistent.pem",
    "AZURE_AUTHORITY_HOST": "login.chinacloudapi.cn",
    "AZURE_TENANT_ID": "00000000-0000-4000-8000-000000000000",
    "AZURE_CLIENT_ID": "11111111-0000-4000-8000-000000000000",
    "AZURE_CLIENT_SECRET": "of another cloud",
}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with staged(tmp_path_factory.mktemp("cloud")) as made:
        yield made


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every address that is connected to and every name that is looked up."""
    seen: list[str] = []
    connect_, look_up = socket.socket.connect, socket.getaddrinfo

    def connecting(self: socket.socket, address: Any) -> None:
        seen.append(str(address[0]))
        connect_(self, address)

    def looking_up(host: Any, *arguments: Any, **options: Any) -> Any:
        seen.append(str(host))
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket.socket, "connect", connecting)
    monkeypatch.setattr(socket, "getaddrinfo", looking_up)
    return seen


def mislead(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in MISLEADING.items():
        monkeypatch.setenv(name, value)


def test_no_client_of_the_sandbox_leaves_the_machine(
    endpoint: Endpoint, reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mislead(monkeypatch)
    cloud = Cloud.sandbox(home=endpoint.home)
    assert len(Walk(cloud=cloud, stage=STAGE).run()) == 41  # every client there is, inside and outside
    assert set(reached) == {"127.0.0.1"}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("url", ["https://example.com/", "http://example.com/", "https://other.vault.azure.cn/"])
def test_a_host_that_is_not_in_the_sandbox_is_answered_by_it(
    endpoint: Endpoint, reached: list[str], monkeypatch: pytest.MonkeyPatch, url: str, inside: bool
) -> None:
    mislead(monkeypatch)
    monkeypatch.setattr(RequestsTransport, "sleep", lambda _transport, _seconds: None)
    cloud = Cloud.sandbox(home=endpoint.home)
    with pytest.raises(AzureError, match="forwards nothing"):
        send_request(cloud.enter(STAGE.vm) if inside else cloud, "GET", url)
    assert set(reached) == {"127.0.0.1"}


def test_a_client_with_a_transport_of_its_own_is_led_there_too(
    endpoint: Endpoint, reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mislead(monkeypatch)
    cloud = Cloud.sandbox(home=endpoint.home)
    with arm.key_vaults(cloud, RequestsTransport(**cloud.transport_options())) as vaults:
        assert vaults.vaults.get(STAGE.resource_group, STAGE.vault).name == STAGE.vault
    # One that forgets transport_options trusts the system's authorities: it fails, and it fails here.
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.delenv("CURL_CA_BUNDLE")
    monkeypatch.setattr(RequestsTransport, "sleep", lambda _transport, _seconds: None)
    careless: Any = RequestsTransport()
    keys = KeyClient(STAGE.vault_url(cloud), cloud.credential(), **cloud.client_options(careless))
    with keys, pytest.raises(AzureError, match="CERTIFICATE_VERIFY_FAILED"):
        keys.get_key("k")
    assert set(reached) == {"127.0.0.1"}


def test_no_option_turns_verification_off(endpoint: Endpoint) -> None:
    cloud = Cloud.sandbox(home=endpoint.home)
    for options in (cloud.client_options(), cloud.transport_options(), cloud.enter(STAGE.vm).client_options()):
        assert options["connection_verify"] == str(endpoint.ca_file)
    assert Cloud.azure().client_options() == {}


def test_a_cloud_s_repr_holds_no_secret(endpoint: Endpoint) -> None:
    cloud = Cloud.sandbox(home=endpoint.home)
    shown = repr(cloud) + repr(cloud.enter(STAGE.vm)) + repr(cloud.credential()) + repr(endpoint)
    assert endpoint.secret not in shown
    assert endpoint.client_secret not in shown


def test_the_sandbox_s_process_has_no_secret_in_its_arguments_or_environment(endpoint: Endpoint) -> None:
    folder = Path(f"/proc/{endpoint.pid}")
    if not folder.exists():
        pytest.skip("no /proc")
    for name in ("cmdline", "environ"):
        shown = (folder / name).read_bytes()
        assert endpoint.secret.encode() not in shown
        assert endpoint.client_secret.encode() not in shown


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_the_sandbox_s_files_are_its_owner_s_alone(endpoint: Endpoint) -> None:
    open_to_others = [path.name for path in endpoint.home.rglob("*") if path.stat().st_mode & 0o077]
    assert open_to_others == []


@pytest.mark.parametrize("name", NOT_IMDS)
def test_an_environment_that_names_another_identity_is_refused_by_name(
    endpoint: Endpoint, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, DEAD)
    cloud = Cloud.sandbox(home=endpoint.home)
    with pytest.raises(UsageError) as caught:
        cloud.enter(STAGE.vm).credential()
    assert (caught.value.where, caught.value.what) == (f"environment variable {name}", "managed identity")
    assert name in caught.value.fix
    cloud.credential()  # the operator's is another matter


def test_a_vm_is_itself_and_no_other(endpoint: Endpoint) -> None:
    inside = Cloud.sandbox(home=endpoint.home).enter(STAGE.vm)
    check_machine(inside, vm=STAGE.vm.upper(), resource_group=STAGE.resource_group)
    for vm, group in (("other", STAGE.resource_group), (STAGE.vm, "other")):
        with pytest.raises(UsageError) as caught:
            check_machine(inside, vm=vm, resource_group=group)
        assert caught.value.expected == f"VM {vm} in {group}"
        assert caught.value.found == f"VM {STAGE.vm} in {STAGE.resource_group}"


def test_outside_a_vm_there_is_no_imds_no_vtpm_and_no_event_log(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RequestsTransport, "sleep", lambda _transport, _seconds: None)
    outside = Cloud.sandbox(home=endpoint.home)
    with pytest.raises(ServiceError) as refused:
        fetch_instance(outside)
    assert refused.value.what == "IMDS instance"
    for ask, what in ((outside.open_tpm, "the vTPM"), (outside.read_event_log, "the boot event log")):
        with pytest.raises(UsageError) as caught:
            ask()
        assert (caught.value.what, caught.value.found) == (what, "outside of one")


def test_after_a_reset_the_same_python_sees_the_new_tenant(tmp_path: Path) -> None:
    tenants = set()
    for _ in range(2):  # the Key Vault SDK remembers which tenant a vault's name belonged to
        with staged(tmp_path):
            cloud = Cloud.sandbox(home=tmp_path)
            tenants.add(cloud.tenant)
            with KeyClient(STAGE.vault_url(cloud), cloud.credential(), **cloud.client_options()) as keys:
                assert list(keys.list_properties_of_keys()) == []
    assert len(tenants) == 2


def test_a_vm_that_is_not_there_is_a_usage_error_with_those_that_are(endpoint: Endpoint) -> None:
    with pytest.raises(UsageError) as caught:
        Cloud.sandbox(home=endpoint.home).enter("nobody")
    assert (caught.value.expected, caught.value.found) == (STAGE.vm, "nobody")


def test_the_roots_of_the_two_worlds_are_apart(endpoint: Endpoint) -> None:
    ours = Cloud.sandbox(home=endpoint.home).amd_roots()
    assert ours.name == "sandbox"
    assert Cloud.azure().amd_roots() is AMD_ROOTS
    assert not set(ours.ark.values()) & set(AMD_ROOTS.ark.values())


def test_only_two_words_name_a_cloud() -> None:
    with pytest.raises(UsageError) as caught:
        connect("gcp")  # type: ignore[arg-type]
    assert caught.value.found == "'gcp'"
    assert skrkit.connect is connect


def test_azure_takes_tenant_and_subscription_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_TENANT_ID", "t1")
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "s1")
    assert (connect("azure").tenant, connect("azure").subscription) == ("t1", "s1")
    given = Cloud.azure(tenant="t2", subscription="s2")
    assert (given.tenant, given.subscription) == ("t2", "s2")


class Asked:
    """Stands in for azure-identity's credential: keeps how it was made and asked."""

    made: dict[str, Any]
    asked: list[Any]

    def __init__(self, **options: Any) -> None:
        Asked.made, Asked.asked = options, []

    def get_token(self, *scopes: str, **options: Any) -> None:
        Asked.asked.append((scopes, options))

    def get_token_info(self, *scopes: str, options: Any = None) -> None:
        Asked.asked.append((scopes, options))


def test_a_tenant_that_was_named_is_the_one_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("azure.identity.DefaultAzureCredential", Asked)
    credential: Any = Cloud.azure(tenant="mine").credential()
    assert Asked.made == {"additionally_allowed_tenants": ["mine"], "authority": "login.microsoftonline.com"}
    credential.get_token("s")
    credential.get_token("s", tenant_id="challenge", claims="c")
    credential.get_token_info("s")
    credential.get_token_info("s", options={"tenant_id": "challenge"})
    tenants = [options["tenant_id"] for _, options in Asked.asked]
    assert tenants == ["mine", "challenge", "mine", "challenge"]
    assert Asked.asked[1][1]["claims"] == "c"


def test_the_credentials_are_the_ones_that_the_design_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AZURE_TENANT_ID", *NOT_IMDS):
        monkeypatch.delenv(name, raising=False)
    outside = Cloud.azure()
    assert isinstance(outside.credential(), DefaultAzureCredential)
    tpm = tmp_path / "tpmrm0"
    monkeypatch.setattr(cloud_module, "LINUX_TPM", str(tpm))
    with pytest.raises(UsageError) as caught:
        outside.enter("m")
    assert caught.value.where == str(tpm)
    tpm.touch()
    inside = outside.enter("m")
    assert isinstance(inside.credential(), ManagedIdentityCredential)
    assert (inside.vm, inside.world) == ("m", "azure")


def test_an_event_log_that_may_not_be_read_says_to_be_root(tmp_path: Path) -> None:
    from dataclasses import replace

    with pytest.raises(UsageError) as caught:
        replace(Cloud.azure(), event_log=tmp_path / "absent").read_event_log()
    assert (caught.value.what, caught.value.found) == ("boot event log", "No such file or directory")
    assert "root" in caught.value.fix
