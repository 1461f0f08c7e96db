"""Every command of the catalogue is run: the Azure CLI's as its requests, the others as they are; they do mend."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from skrkit.cloud import Cloud
from skrkit.diagnosis.catalogue import catalogue, cause_named
from skrkit.diagnosis.cause import OFF
from skrkit.diagnosis.explain import explain
from skrkit.diagnosis.finding import Finding
from skrkit.doctor.gather import gather_case
from skrkit.policy.parse import encode_policy
from skrkit.policy.templates import cvm_policy
from skrkit.provision.key import create
from skrkit.sandbox import process
from skrkit.sandbox.faults import client
from skrkit.sandbox.faults.table import all_faults
from skrkit.walkthrough import Walk
from tests.diagnosis.az import ATTESTATION_API, COMMANDS, Desk
from tests.diagnosis.by_hand import STATES, put_right
from tests.diagnosis.sandboxed import STAGE
from tests.sandbox.running import environment, execute

NEW_KEY, OTHER_KEY = "made-anew", "worked-on"
ROUNDS = 2  # of a cause whose mending shows the next: a new identity has no grant yet
NAMES = {  # what a person fills in
    "key": OTHER_KEY, "new_key": "of-its-own", "vault": STAGE.vault, "vm": STAGE.vm,
    "resource_group": STAGE.resource_group, "location": STAGE.location, "nsg": "nsg-1", "provider": "mine",
    "address": "127.0.0.1", "ops": "sign verify",
    "time": "2030-01-01T00:00:00+00:00",
}  # fmt: skip
AZ = sorted({cause.command for cause in catalogue() if cause.command.startswith("az ")})
# A new object id leaves the grant of the old one behind: the others first.
_NEW_ID = ("access.stale-object-id", "identity.none")
STATE = sorted((fault.name for fault in all_faults() if fault.kind == "state"), key=_NEW_ID.__contains__)

# What the command of a cause only shows, or does beside the fault, and why.
SHOWS_ONLY = {
    "identity.several": "which identities there are: the client then names one of them",
    "key.not-found": "which keys there are: the client then names one of them",
    "policy.secure-boot": "Secure Boot is on in the sandbox's VM: the fault's policy asks for another claim",
}

# What nobody makes by hand and no command mends, and why.
NOT_BY_HAND = {"policy.debug": "the hardware reports a guest that can be debugged: such a VM is deployed anew"}

FOLLOWED_BY = {
    "identity.none": "access.stale-object-id",  # a new object id: the grant of before names the old one
    "access.rbac-mode": "access.rbac-mode",  # first the VM's, then the operator's, who reads the key
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made: Path = tmp_path_factory.mktemp("commands")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKRKIT_HOME", str(made))
        cloud = Cloud.sandbox(home=made)
        Walk(cloud=cloud, stage=STAGE).run()
        create(cloud, STAGE.vault_url(cloud), OTHER_KEY, cvm_policy(STAGE.attestation))
        yield made
    process.reset(made)


@pytest.fixture
def desk(home: Path, tmp_path: Path) -> Desk:
    """An operator's desk on which lie the policy that step 3 makes, and one for a provider, which permits all."""
    (tmp_path / "policy.json").write_bytes(cvm_policy(STAGE.attestation).raw)
    permits = "version= 1.0;\nauthorizationrules\n{\n=> permit();\n};\nissuancerules\n{\n};\n"
    (tmp_path / "policy.txt").write_text(permits, encoding="ascii")
    endpoint = process.running(home)
    assert endpoint is not None
    return Desk(endpoint=endpoint, folder=tmp_path)


def test_each_command_of_the_azure_cli_has_its_requests() -> None:
    words = {" ".join(_plain(command)) for command in AZ}
    assert words == COMMANDS.keys()


def _plain(command: str) -> list[str]:
    words = shlex.split(command)[1:]
    return words[: next((place for place, word in enumerate(words) if word.startswith("--")), len(words))]


@contextmanager
def made_by_hand(home: Path, desk: Desk, name: str) -> Iterator[None]:
    """The state of a fault, made by requests; what is left of it afterwards is put right."""
    STATES[name](desk)
    assert not [fault for fault in client.listed(home=home) if fault["on"]]
    try:
        yield
    finally:
        put_right(desk)
        Walk(cloud=Cloud.sandbox(home=home), stage=STAGE, steps=(1, 2, 3)).run()


def found(home: Path, *, key: str = STAGE.key) -> Finding | None:
    """Return the first finding of a walk; None when it works."""
    explanation = explain(gather_case(Cloud.sandbox(home=home), replace(STAGE, key=key)))
    if not explanation.refusal and not explanation.findings:
        return None
    return explanation.findings[0]


def test_every_fault_of_state_is_made_by_hand() -> None:
    assert sorted([*STATES, *NOT_BY_HAND]) == sorted(STATE)


# Finding by finding, as a person would: the first one's command, then what is found after it.
@pytest.mark.parametrize("name", [name for name in STATE if name not in SHOWS_ONLY | NOT_BY_HAND])
def test_what_was_made_by_hand_the_azure_command_mends(home: Path, desk: Desk, name: str) -> None:
    with made_by_hand(home, desk, name):
        first = found(home)
        assert first is not None
        assert first.cause.id == name
        desk.az(first.command.replace("NEW_KEY", NEW_KEY))
        key = NEW_KEY if "NEW_KEY" in first.command else STAGE.key
        for _ in range(ROUNDS - 1):
            following = found(home, key=key)
            if following is not None:
                assert following.cause.id == FOLLOWED_BY.get(name), following
                desk.az(following.command.replace("OBJECT_ID", desk.operator))
        assert found(home, key=key) is None


@pytest.mark.parametrize("name", SHOWS_ONLY)
def test_what_only_shows_leaves_the_state_as_it_is(home: Path, desk: Desk, name: str) -> None:
    with made_by_hand(home, desk, name):
        first = found(home)
        assert first is not None
        assert first.cause.id == name
        assert desk.az(first.command)
        again = found(home)
        assert again is not None
        assert again.cause.id == name


def test_every_fault_of_state_has_a_command_of_the_azure_cli() -> None:
    assert {name for name in STATE if not cause_named(name).command.startswith("az ")} == NOT_BY_HAND.keys()


@pytest.mark.parametrize("command", AZ)
def test_a_command_of_the_azure_cli_is_taken(home: Path, desk: Desk, command: str) -> None:
    identity = desk.az(f"az vm show --resource-group {STAGE.resource_group} --name {STAGE.vm}")["identity"]
    vault_id = STAGE.vault_id(Cloud.sandbox(home=home))
    known = NAMES | {"object_id": identity["principalId"], "tenant": identity["tenantId"], "vault_id": vault_id}
    if "--hsm-name" in command:
        known["vault"] = "hsm-of-its-own"
        if "role" in command:
            desk.az(cause_named("access.hsm-not-activated").command.format_map(known))
    if "--not-before" in command:
        known["time"] = "2029-01-01T00:00:00+00:00"
    if "recover" in command:
        desk.vault("DELETE", STAGE.vault, f"/keys/{OTHER_KEY}")
    if "--nsg-name" in command:
        desk.make_security_group(NAMES["nsg"])
    assert desk.az(command.format_map(known)) is not None  # what is refused raises


SKRKIT = sorted(
    {
        template
        for cause in catalogue()
        for template in (cause.command, cause.mend)
        if template.startswith("skrkit ") and "--fetch" not in template  # that asks AMD's own servers
    }
    - {OFF}  # run for every fault, in test_every_fault
)
AT_A_PROVIDER = [template for template in SKRKIT if template.startswith("skrkit maa ")]


@pytest.mark.parametrize("template", sorted({*SKRKIT} - {*AT_A_PROVIDER}))
def test_a_command_of_skrkit_does_what_it_says(home: Path, captures: Path, tmp_path: Path, template: str) -> None:
    """On files of a real machine. `verify` of these alone is incomplete, which is 4, and no mistake of the command."""
    files_of_a_real_machine(captures, tmp_path)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    names = {"vm": STAGE.vm, "new_key": "walked", "time": "2026-01-01T00:00:00Z"}
    done = subprocess.run(  # a process of its own: `skrkit sandbox exec` becomes the program that it runs
        shlex.split(template.format_map(names)),
        cwd=tmp_path,
        env={**environment(home), "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == (4 if template.startswith("skrkit verify") else 0), done.stdout + done.stderr


@pytest.mark.parametrize("template", AT_A_PROVIDER)
def test_a_command_of_skrkit_finds_the_provider(home: Path, desk: Desk, tmp_path: Path, template: str) -> None:
    provider = f"{desk.group({})}/providers/Microsoft.Attestation/attestationProviders/ours"
    desk.arm("PUT", provider, ATTESTATION_API, {"location": "westeurope", "properties": {}})
    authority = desk.arm("GET", provider, ATTESTATION_API)["properties"]["attestUri"]
    policy = tmp_path / "attestation-policy.txt"
    policy.write_text("version= 1.0;authorizationrules{=> permit();};", encoding="ascii")
    command = template.format(authority=authority).replace(policy.name, str(policy))
    said = execute(home, sys.executable, "-m", *shlex.split(command))
    begin = "The attestation policy is in force" if " set " in template else "version= 1.0;"
    assert said.startswith(begin)


def files_of_a_real_machine(captures: Path, folder: Path) -> None:
    policy = cvm_policy(STAGE.attestation)
    (folder / "policy.json").write_bytes(policy.raw)
    (folder / "stored.json").write_bytes(policy.raw)
    (folder / "policy.txt").write_text(encode_policy(policy), encoding="ascii")
    for name, place in (
        ("hcl-report.bin", "azure-snp-milan-v3/hcl-report.bin"),
        ("vcek.pem", "azure-snp-milan-v3/vcek.der"),
        ("token.jwt", "maa-token-and-akv-release/maa-token.jwt"),
    ):
        (folder / name).write_bytes((captures / place).read_bytes())
