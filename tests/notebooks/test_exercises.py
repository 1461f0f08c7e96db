"""Each exercise: not attempted on nothing, not yet on a wrong answer, right on a right one; and hints come in turn."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skrkit.lab.exercise import check, exercises
from tests.notebooks.conftest import load_builder

TEE = "x-ms-isolation-tee"
HERE = "https://sharedweu.weu.attest.azure.net"


def policy(*conditions: tuple[str, Any], rule: str = "allOf", authority: str = HERE) -> str:
    clauses = [{"claim": claim, "equals": value} for claim, value in conditions]
    return json.dumps({"version": "1.0.0", "anyOf": [{"authority": authority, rule: clauses}]})


KIND = (f"{TEE}.x-ms-attestation-type", "sevsnpvm")
DEBUG = (f"{TEE}.x-ms-sevsnpvm-is-debuggable", False)
BOOT = (f"{TEE}.x-ms-runtime.vm-configuration.secure-boot", "true")

RIGHT: dict[str, tuple[Any, ...]] = {
    "00.verifier": ("MAA", "Azure Attestation"),
    "00.imds": ("inside",),
    "00.fault": ("cvm-1",),
    "01.claim": ("oid",),
    "01.lifetime": (86400, "86400"),
    "01.fault": ("aud",),
    "02.permission": ("release",),
    "02.kind": ("ADD", "add"),
    "02.fault": ("objectId",),
    "03.code": ("AKV.SKR.1006", "1006"),
    "03.policy": (policy(KIND, DEBUG), policy(DEBUG, KIND), policy(KIND, (DEBUG[0], "false"), authority=f"{HERE}/")),
    "03.fault": ("bytes", bytes),
    "04.offset": (0x50, "0x50"),
    "04.kid": ("TpmEphemeralEncryptionKey",),
    "04.fault": ("hcl.report_data_eq_hash_of_variable_data",),
    "05.signed": (0x2A0, 672, "0x2A0"),
    "05.measurement": (48,),
    "05.fault": ("event log", "event-log"),
    "06.policy": (policy(DEBUG, BOOT),),
    "06.operator": ("equals",),
    "06.fault": ("/anyOf/0/allOf/1",),
    "07.permission": (2, "2"),
    "07.token": ("verified",),
    "07.fault": ("console-enabled", f"{TEE}.x-ms-runtime.vm-configuration.console-enabled"),
    "08.where": ("inside",),
    "08.sku": ("premium", "Premium"),
    "08.fault": ("az keyvault purge", "az keyvault purge --name x"),
}
WRONG: dict[str, tuple[Any, ...]] = {
    "00.verifier": ("Key Vault", "AMD"),
    "00.imds": ("outside",),
    "00.fault": ("cvm1",),
    "01.claim": ("appid", "sub", "iss"),
    "01.lifetime": (3600, True),
    "01.fault": ("oid",),
    "02.permission": ("get", "release, get"),
    "02.kind": ("REPLACE",),
    "02.fault": ("tenantId",),
    "03.code": ("AKV.SKR.1004",),
    "03.policy": (
        policy(KIND),
        policy(KIND, DEBUG, rule="anyOf"),
        policy(KIND, (DEBUG[0], "False")),
        policy(KIND, DEBUG, authority="https://sharedeus.eus.attest.azure.net"),
        "{",
        "[]",
        json.dumps(
            {
                "version": "1.0.0",
                "anyOf": [
                    json.loads(policy(KIND, DEBUG))["anyOf"][0],
                    json.loads(policy(KIND, DEBUG, authority="https://sharedeus.eus.attest.azure.net"))["anyOf"][0],
                ],
            }
        ),
    ),
    "03.fault": ("str", str),
    "04.offset": (0x70, 0x51, "report_data"),
    "04.kid": ("HCLAkPub",),
    "04.fault": ("report.signature",),
    "05.signed": (1184, 671),
    "05.measurement": (32,),
    "05.fault": ("quote", "pcrs"),
    "06.policy": (policy(DEBUG), policy(BOOT), policy(DEBUG, (BOOT[0], "True"))),
    "06.operator": ("exists",),
    "06.fault": ("/anyOf/0/allOf/0", "1"),
    "07.permission": (3,),
    "07.token": ("policy",),
    "07.fault": ("secureboot",),
    "08.where": ("outside",),
    "08.sku": ("standard",),
    "08.fault": ("az keyvault delete", "az group delete"),
}


def test_every_exercise_has_answers_here_and_is_asked_in_a_notebook() -> None:
    builder = load_builder()
    asked = {
        line.split('"')[1]
        for name in builder.names()
        for line in (builder.SOURCES / f"{name}.md").read_text("utf-8").splitlines()
        if line.startswith("lab.check(")
    }
    known = {name for name in exercises() if name[:2].isdigit()}
    assert known == set(RIGHT) == set(WRONG) == asked


@pytest.mark.parametrize("exercise", sorted(RIGHT))
@pytest.mark.parametrize("answer", [None, ..., "", "  "])
def test_nothing_is_no_attempt(exercise: str, answer: object) -> None:
    outcome = check(exercise, answer)
    assert outcome.mark == "not attempted"
    assert outcome.text == exercises()[exercise].question


@pytest.mark.parametrize(("exercise", "answer"), [(name, answer) for name in sorted(RIGHT) for answer in RIGHT[name]])
def test_right(exercise: str, answer: object) -> None:
    assert check(exercise, answer).mark == "right"


@pytest.mark.parametrize(("exercise", "answer"), [(name, answer) for name in sorted(WRONG) for answer in WRONG[name]])
def test_wrong_gets_a_hint(exercise: str, answer: object) -> None:
    outcome = check(exercise, answer)
    assert outcome.mark == "not yet"
    assert outcome.text


@pytest.mark.parametrize("exercise", sorted(RIGHT))
@pytest.mark.parametrize("answer", [object(), [], {}, 3.5, b"\xff", -1])
def test_an_answer_of_another_kind_is_not_yet(exercise: str, answer: object) -> None:
    assert check(exercise, answer).mark == "not yet"


def test_the_fault_that_notebook_05_takes_by_its_number() -> None:
    from skrkit.lab.faults import FAULTS

    assert list(FAULTS)[14] == "event-log"


def test_what_is_wrong_with_a_policy_is_said() -> None:
    assert "although debugging has another value" in check("03.policy", policy(KIND)).text
    assert "It says no to a token that has all of this." in check("03.policy", policy(DEBUG, ("x", "y"))).text
    assert check("03.policy", "{").text.startswith("Not a policy yet: ")
