"""A Managed HSM in place of a vault: a healthy one, and each state in which its checks fail by name."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from azure.mgmt.keyvault.models import ManagedHsm

from skrkit.cloud import Cloud
from skrkit.diagnosis.explain import explain
from skrkit.doctor.check import Outcome, Report, run_checks
from skrkit.doctor.checks import ALL, checks_for
from skrkit.doctor.gather import gather_case
from skrkit.doctor.host import Host
from skrkit.doctor.visit import Names, Visit
from skrkit.provision import access, hsm
from skrkit.provision.stage import Stage
from skrkit.sandbox import process
from skrkit.sandbox.faults.client import switch_off, switch_on
from skrkit.services import arm
from skrkit.services.hsm import assign, local_roles
from skrkit.services.vault import key_client
from skrkit.walkthrough import Walk
from tests.sandbox.running import skrkit

STAGE = Stage(hsm="doctors-hsm")
NAMES = Names(
    resource_group=STAGE.resource_group,
    vm=STAGE.vm,
    key=STAGE.key,
    hsm=STAGE.hsm,
    attestation=STAGE.attestation,
)
HOST = Host(system="Linux", architecture="x86_64")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("doctor-hsm")
    try:
        Walk(cloud=Cloud.sandbox(home=folder), stage=STAGE, steps=(1, 2, 3)).run()
        yield folder
    finally:
        process.reset(folder)


def visited(cloud: Cloud, *, inside: bool = True, outside: bool = True, names: Names = NAMES, **more: Any) -> Report:
    entered = cloud.enter(STAGE.vm) if inside else None
    with Visit(host=HOST, names=names, inside=entered, outside=cloud if outside else None, **more) as visit:
        checks = checks_for(inside=inside, outside=outside, hsm=True)
        return Report(results=run_checks(checks, visit), where="the sandbox")


def outcome(report: Report, check_id: str) -> Outcome:
    found = report.result(check_id)
    assert found is not None, check_id
    return found.outcome


def object_id(cloud: Cloud) -> str:
    from skrkit.provision.identity import enable

    return enable(cloud, STAGE).object_id


def test_of_a_healthy_hsm_every_check_is_ok_a_real_release_included(operator: Cloud) -> None:
    report = visited(operator, release=True)
    assert {
        result.check.id: result.outcome.verdict for result in report.results if result.outcome.verdict != "ok"
    } == {}
    names = {result.check.id for result in report.results}
    assert {"hsm.resource", "hsm.grant", "hsm.reachable"} <= names
    assert not names & {"vault.resource", "vault.grant", "vault.reachable"}
    assert names | {"vault.resource", "vault.grant", "vault.reachable"} == {check.id for check in ALL}
    assert "For https://managedhsm.azure.net," in outcome(report, "access-token.fits").evidence
    assert outcome(report, "hsm.resource").facts["activation"] == "Active"


def test_inside_alone_nothing_is_asked_of_the_operator_s_side(operator: Cloud) -> None:
    report = visited(operator, outside=False, release=True)
    assert {result.check.id for result in report.results if result.outcome.verdict != "ok"} == {
        "key.attributes",
        "policy.holds",
    }
    assert report.exit_code == 0


def test_without_the_local_role_the_command_that_assigns_it_is_the_fix(operator: Cloud) -> None:
    identity = object_id(operator)
    access.revoke(operator, STAGE, identity)
    try:
        report = visited(operator)
        grant, asked = outcome(report, "hsm.grant"), outcome(report, "release.preflight")
        assert (grant.verdict, grant.cause) == ("failed", "access.hsm-local-role")
        assert grant.fix == (
            "az keyvault role assignment create --hsm-name doctors-hsm "
            '--role "Managed HSM Crypto Service Release User" '
            f"--assignee-object-id {identity} --assignee-principal-type ServicePrincipal --scope /keys/release-me"
        )
        assert (asked.verdict, asked.cause) == ("failed", "access.hsm-local-role")
        assert asked.fix.startswith("az keyvault role assignment create --hsm-name doctors-hsm ")
        with local_roles(operator, STAGE.vault_url(operator)) as client:
            assign(client, "Managed HSM Crypto Auditor", "/keys", identity)
        assert "Managed HSM Crypto Auditor at /keys/release-me and above, which does not cover a release" in (
            outcome(visited(operator, inside=False), "hsm.grant").evidence
        )
    finally:
        access.grant(operator, STAGE, identity)
    assert outcome(visited(operator, inside=False), "hsm.grant").verdict == "warning"  # the Auditor's role is too much


def test_an_hsm_that_is_not_activated_is_named_before_what_follows_from_it(operator: Cloud) -> None:
    with arm.key_vaults(operator) as client:
        body = ManagedHsm(hsm.hsm_body(operator, replace(STAGE, hsm="resting")))
        client.managed_hsms.begin_create_or_update(STAGE.resource_group, "resting", body).result()
    report = visited(operator, names=replace(NAMES, hsm="resting"))
    found = outcome(report, "hsm.resource")
    assert (found.verdict, found.cause, report.first_cause) == ("failed", *["access.hsm-not-activated"] * 2)
    assert found.fix.startswith("az keyvault security-domain download --hsm-name resting ")
    assert outcome(report, "hsm.grant").verdict == "skipped"


def test_an_hsm_whose_name_does_not_resolve(operator: Cloud) -> None:
    report = visited(operator, outside=False, names=replace(NAMES, hsm="nowhere"))
    found = outcome(report, "hsm.reachable")
    assert (found.verdict, found.cause) == ("failed", "network.vault-name")
    assert outcome(report, "key.attributes").verdict == "skipped"


def test_a_disabled_key_has_a_command_for_a_managed_hsm(operator: Cloud) -> None:
    with key_client(operator, STAGE.vault_url(operator)) as client:
        client.update_key_properties(STAGE.key, enabled=False)
        try:
            found = outcome(visited(operator), "key.attributes")
        finally:
            client.update_key_properties(STAGE.key, enabled=True)
    assert (found.verdict, found.cause) == ("failed", "key.disabled")
    assert "--hsm-name doctors-hsm" in found.fix
    assert "--vault-name" not in found.fix


def test_a_token_for_vaults_does_not_fit(operator: Cloud, home: Path) -> None:
    switch_on("access-token.wrong-audience", home=home)
    try:
        report = visited(operator, outside=False)
    finally:
        switch_off("access-token.wrong-audience", home=home)
    assert outcome(report, "access-token.fits").cause == "access-token.wrong-audience"
    cloud = operator.enter(STAGE.vm)
    visit = Visit(host=HOST, names=NAMES, inside=cloud, access_token={"aud": "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"})
    (check,) = (check for check in ALL if check.id == "access-token.fits")
    said = check.run(visit)  # that is Key Vault's application, which no Managed HSM takes
    assert (said.cause, said.evidence.partition("; ")[2]) == (
        "access-token.wrong-audience",
        "the Managed HSM takes https://managedhsm.azure.net alone.",
    )


def test_who_may_not_read_the_roles_is_told_who_may(operator: Cloud) -> None:
    cloud = operator.enter(STAGE.vm)  # the VM's own identity may release, and read nothing
    visit = Visit(host=HOST, names=NAMES, outside=cloud, vm={"identity": {"principalId": object_id(operator)}})
    with visit:
        (check,) = (check for check in ALL if check.id == "hsm.grant")
        found = check.run(visit)
    assert (found.verdict, "Crypto Auditor" in found.fix) == ("not-checked", True)


# Bodies in the form of the published `ManagedHsm`, by hand.
def resource(**properties: Any) -> dict[str, Any]:
    domain = {
        "activationStatus": "Active",
        "activationStatusMessage": "Your HSM has been provisioned and is ready to use.",
    }
    return {
        "sku": {"family": "B", "name": "Standard_B1"},
        "properties": {
            "tenantId": "t",
            "provisioningState": "Succeeded",
            "securityDomainProperties": domain,
            **properties,
        },
    }


@pytest.mark.parametrize(
    ("body", "verdict", "cause"),
    [
        (resource(), "ok", ""),
        (resource(securityDomainProperties={"activationStatus": "NotActivated"}), "failed", "access.hsm-not-activated"),
        (resource(securityDomainProperties={"activationStatus": "Failed"}), "failed", "access.hsm-not-activated"),
        (resource(securityDomainProperties=None), "failed", "access.hsm-not-activated"),
        (resource(publicNetworkAccess="Disabled"), "warning", "access.private-only"),
        (resource(networkAcls={"defaultAction": "Deny", "ipRules": []}), "warning", "access.firewall-address"),
    ],
)
def test_the_hsm_as_a_resource(body: dict[str, Any], verdict: str, cause: str) -> None:
    visit = Visit(host=HOST, names=NAMES, outside=Cloud.azure(tenant="t", subscription="s"))
    visit._reader = SimpleNamespace(hsm=lambda _id: body)  # type: ignore[assignment]  # in place of Azure
    (check,) = (check for check in ALL if check.id == "hsm.resource")
    found = check.run(visit)
    assert (found.verdict, found.cause) == (verdict, cause)


def test_a_case_of_an_hsm_has_its_own_token_and_its_own_exchanges(operator: Cloud) -> None:
    case = gather_case(operator, STAGE)
    assert (case.error, case.access_token["aud"]) == ({}, "https://managedhsm.azure.net")
    assert (case.exchanges[-1].service, case.vault, case.asked["vault"]) == ("hsm", {}, "doctors-hsm")


def test_what_mends_a_key_of_an_hsm_is_a_command_for_an_hsm(operator: Cloud) -> None:
    with key_client(operator, STAGE.vault_url(operator)) as client:
        client.update_key_properties(STAGE.key, enabled=False)
        try:
            explanation = explain(gather_case(operator, STAGE))
        finally:
            client.update_key_properties(STAGE.key, enabled=True)
    first = explanation.findings[0]
    assert (first.cause.id, "--hsm-name doctors-hsm" in first.command) == ("key.disabled", True)
    assert "--vault-name" not in first.command
    assert not any("az keyvault show" in words for words in explanation.unknown)


def test_the_command_line(home: Path) -> None:
    done = skrkit(home, "doctor", "--cloud", "sandbox", "--hsm", "doctors-hsm", "--json")
    assert done.returncode == 0, done.stdout
    assert "hsm.grant" in {check["id"] for check in json.loads(done.stdout)["checks"]}
    nameless = skrkit(home, "doctor", "--outside", "--hsm")
    assert (nameless.returncode, "--hsm without a name" in nameless.stderr) == (2, True)


def test_an_explanation_and_a_bundle_are_of_the_hsm_that_is_named(home: Path, tmp_path: Path) -> None:
    identity = object_id(Cloud.sandbox(home=home))
    access.revoke(Cloud.sandbox(home=home), STAGE, identity)
    try:
        said = skrkit(home, "explain", "--live", "--hsm", "doctors-hsm", "--json")
        bundle = tmp_path / "bundle.zip"
        made = skrkit(home, "bundle", "create", "--hsm", "doctors-hsm", "-o", str(bundle))
    finally:
        access.grant(Cloud.sandbox(home=home), STAGE, identity)
    assert json.loads(said.stdout)["findings"][0]["cause"] == "access.hsm-local-role", said.stdout
    assert made.returncode == 0, made.stderr
    with zipfile.ZipFile(bundle) as opened:
        everything = b"".join(opened.read(name) for name in opened.namelist())
    assert b"access.hsm-local-role" in everything
    assert b"hsm.grant" in everything
    assert b"doctors-hsm" not in everything  # names of one's own are pseudonyms
    nameless = skrkit(home, "bundle", "create", "--cloud", "azure", "--hsm", "-o", str(bundle))
    assert (nameless.returncode, "--hsm without a name" in nameless.stderr) == (2, True)
