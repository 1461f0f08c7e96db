"""A healthy VM of the sandbox, and the same VM with a fault: each check is seen to hold, and seen to fail by name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from skrkit.cloud import Cloud
from skrkit.doctor.check import Report, run_checks
from skrkit.doctor.checks import ALL, checks_for
from skrkit.doctor.gather import policy_text
from skrkit.doctor.host import Host
from skrkit.doctor.visit import Names, Visit
from skrkit.sandbox.faults.client import switch_off, switch_on
from skrkit.sandbox.faults.table import all_faults
from tests.doctor.conftest import STAGE

HOST = Host(system="Linux", architecture="x86_64")
NAMES = Names(
    resource_group=STAGE.resource_group,
    vm=STAGE.vm,
    vault=STAGE.vault,
    key=STAGE.key,
    attestation=STAGE.attestation,
)


def visited(cloud: Cloud, *, inside: bool = True, outside: bool = True, **more: object) -> Report:
    visit = Visit(
        host=HOST,
        names=NAMES,
        inside=cloud.enter(STAGE.vm) if inside else None,
        outside=cloud if outside else None,
        **more,  # type: ignore[arg-type]  # members of Visit, by name
    )
    with visit:
        results = run_checks(checks_for(inside=inside, outside=outside), visit)
    return Report(results=results, where="the sandbox")


def verdicts(report: Report) -> dict[str, str]:
    return {result.check.id: result.outcome.verdict for result in report.results}


def test_of_a_healthy_vm_every_check_is_ok_a_real_release_included(operator: Cloud) -> None:
    report = visited(operator, release=True)
    assert verdicts(report) == {check.id: "ok" for check in checks_for(inside=True, outside=True)}
    assert report.exit_code == 0
    text = json.dumps(report.fields())
    assert not re.search(r"eyJ[\w-]+\.[\w-]+\.", text)  # no token stands in it
    done = report.result("release.done")
    assert done is not None
    assert "PRIVATE" not in text


def test_without_being_asked_nothing_is_released(operator: Cloud) -> None:
    report = visited(operator)
    assert {name for name, verdict in verdicts(report).items() if verdict != "ok"} == {"release.done"}
    assert report.exit_code == 0


def test_inside_alone_the_key_is_not_read_and_that_is_as_it_should_be(operator: Cloud) -> None:
    report = visited(operator, outside=False, release=True)
    skipped = {name for name, verdict in verdicts(report).items() if verdict != "ok"}
    assert skipped == {"key.attributes", "policy.holds"}
    assert report.exit_code == 0


def test_inside_alone_a_policy_that_is_given_is_held_against_the_token(operator: Cloud) -> None:
    from skrkit.services.reader import Reader

    with Reader(operator) as reader:
        text = policy_text(reader.key(STAGE.vault_url(operator), STAGE.key))
    good = visited(operator, outside=False, policy=text).result("policy.holds")
    assert good is not None
    assert good.outcome.verdict == "ok"
    other = text.replace(b"sevsnpvm", b"SEVSNPVM")
    bad = visited(operator, outside=False, policy=other).result("policy.holds")
    assert bad is not None
    assert (bad.outcome.verdict, bad.outcome.cause) == ("failed", "policy.letter-case")


def test_from_outside_no_vtpm_is_touched(operator: Cloud) -> None:
    report = visited(operator, inside=False)
    assert set(verdicts(report).values()) == {"ok"}
    assert "machine.kind" not in verdicts(report)


# Every fault, and the check that shows it first; those of a release itself need --release.
SHOWN_BY = {
    "machine.no-nv-index": "machine.kind",
    "machine.tpm-locked": "vtpm.reachable",
    "evidence.report-stale": "report.fresh",
    "identity.imds-down": "imds.reachable",
    "identity.imds-proxied": "imds.reachable",
    "identity.imds-throttled": "imds.reachable",
    "network.thim-unavailable": "report.endorsed",
    "evidence.report-tampered": "report.endorsed",
    "evidence.vcek-other-chip": "report.endorsed",
    "evidence.vcek-old-tcb": "report.endorsed",
    "evidence.chain-other-line": "report.endorsed",
    "evidence.runtime-claims": "report.endorsed",
    "evidence.vmpl": "report.endorsed",
    "evidence.ak-certificate": "ak.certificate",
    "evidence.report-other-vm": "ak.certificate",
    "evidence.ak-not-in-report": "ak.certificate",
    "evidence.quote-nonce": "quote.holds",
    "evidence.quote-pcrs": "quote.holds",
    "evidence.event-log": "event-log.replays",
    "evidence.secure-boot-off": "secure-boot.on",
    "identity.none": "identity.token",
    "identity.several": "identity.token",
    "identity.wrong-selector": "identity.token",
    "access-token.wrong-audience": "access-token.fits",
    "access-token.wrong-tenant": "access-token.fits",
    "access-token.expired": "access-token.fits",
    "access.release-missing": "vault.grant",
    "access.stale-object-id": "vault.grant",
    "access.rbac-mode": "vault.grant",
    "network.maa-name": "maa.reachable",
    "network.maa-unreachable": "maa.reachable",
    "network.maa-unavailable": "maa.reachable",
    "machine.clock-skew": "clock.right",
    "network.maa-throttled": "maa.attests",
    "evidence.dbx-not-validated": "maa.attests",
    "evidence.maa-policy": "maa.attests",
    "token.jku-swap": "maa.attests",
    "token.expired": "maa.attests",
    "evidence.key-outside-vtpm": "maa.attests",
    "token.envelope": "maa.attests",
    "token.not-yet-valid": "maa.attests",
    "token.algorithm-none": "maa.attests",
    "token.algorithm-confusion": "maa.attests",
    "token.other-tenant": "maa.attests",
    "token.other-authority": "maa.attests",
    "token.signing-key-rotated": "maa.attests",
    "token.signature": "maa.attests",
    "token.replayed": "maa.attests",
    "token.other-vm": "maa.attests",
    "token.no-transfer-key": "maa.attests",
    "token.truncated": "maa.attests",
    "network.vault-name": "vault.reachable",
    "network.vault-unreachable": "vault.reachable",
    "network.vault-tls": "vault.reachable",
    "network.vault-unavailable": "vault.reachable",
    "access.private-only": "key.attributes",
    "access.firewall-address": "key.attributes",
    "key.disabled": "key.attributes",
    "key.not-exportable": "key.attributes",
    "key.deleted": "key.attributes",
    "key.not-found": "key.attributes",
    "access.get-missing": "key.attributes",
    "evidence.debug-vm": "policy.holds",
    "policy.debug": "policy.holds",
    "policy.missing-prefix": "policy.holds",
    "policy.boolean-text": "policy.holds",
    "policy.authority-region": "policy.holds",
    "evidence.firmware-rollback": "policy.holds",
    "policy.extra-prefix": "policy.holds",
    "policy.claim-typo": "policy.holds",
    "policy.letter-case": "policy.holds",
    "policy.authority-typo": "policy.holds",
    "policy.compliance-status": "policy.holds",
    "policy.other-vm": "policy.holds",
    "policy.launch-measurement": "policy.holds",
    "policy.firmware-svn": "policy.holds",
    "policy.host-data": "policy.holds",
    "policy.operator": "policy.holds",
    "policy.secure-boot": "policy.holds",
    "access-token.missing": "release.preflight",
    "access-token.unknown-key": "release.preflight",
    "access.not-propagated": "release.preflight",
    "network.vault-throttled": "release.preflight",
    "key.wrong-version": "release.preflight",
    "response.nonce": "release.done",
    "response.transfer-key": "release.done",
    "response.signature": "release.done",
    "response.chain": "release.done",
    "response.host": "release.done",
    "response.other-key": "release.done",
    "response.enc": "release.done",
    "response.ciphertext": "release.done",
    "response.key-substituted": "release.done",
}


@pytest.mark.parametrize("fault", SHOWN_BY)
def test_a_fault_is_named_by_the_check_that_shows_it_first(home: Path, operator: Cloud, fault: str) -> None:
    switch_on(fault, home=home)
    try:
        report = visited(operator, release=True)
    finally:
        switch_off(fault, home=home)
    first = next(result for result in report.results if result.outcome.verdict == "failed")
    assert (first.check.id, first.outcome.cause) == (SHOWN_BY[fault], fault), first.outcome.evidence
    assert first.outcome.fix
    assert report.exit_code == 4
    for result in report.results:  # what depends on it is not made to look good
        if any(needed == first.check.id for needed in result.check.needs):
            assert result.outcome.verdict == "skipped"


def test_a_guest_that_can_be_debugged_fails_though_nobody_knows_the_policy(home: Path, operator: Cloud) -> None:
    switch_on("evidence.debug-vm", home=home)
    try:
        report = visited(operator, outside=False)
    finally:
        switch_off("evidence.debug-vm", home=home)
    found = {result.check.id: result.outcome for result in report.results}
    assert (found["maa.claims"].verdict, found["maa.claims"].cause) == ("warning", "evidence.debug-vm")
    assert (found["report.debug-off"].verdict, report.first_cause) == ("failed", "evidence.debug-vm")
    assert report.exit_code == 4


def test_the_doctor_names_every_fault_of_the_sandbox() -> None:
    assert SHOWN_BY.keys() == {fault.name for fault in all_faults()}


def test_every_check_is_seen_to_fail() -> None:
    # policy.lint and the resources are seen to fail on resources of their own, and maa.claims on claims.
    elsewhere = {"hsm.resource", "hsm.grant", "hsm.reachable"}  # in test_hsm
    elsewhere |= {"vtpm.nv-indexes", "pcr.banks", "outside.sign-in", "vm.resource", "vault.resource", "policy.lint"}
    assert {check.id for check in ALL} == set(SHOWN_BY.values()) | elsewhere | {"maa.claims", "report.debug-off"}


def test_a_vault_that_is_not_there_is_named(operator: Cloud) -> None:
    names = Names(resource_group=STAGE.resource_group, vm=STAGE.vm, vault="no-such-vault", key=STAGE.key)
    visit = Visit(host=HOST, names=names, outside=operator)
    with visit:
        results = run_checks(checks_for(inside=False, outside=True), visit)
    report = Report(results=results, where="")
    found = verdicts(report)
    assert (found["vault.resource"], found["vault.grant"], found["vault.reachable"]) == ("failed", "skipped", "failed")
    assert report.first_cause == "network.vault-name"
    assert found["maa.reachable"] == "ok"  # the shared provider of the VM's region, which nobody named
