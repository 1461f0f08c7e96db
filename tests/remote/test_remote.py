"""Step 4 from outside, by run command, on a running sandbox; starting and stopping VMs; and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.compute.models import RunCommandInput

from skrkit.artefact import Artefact
from skrkit.attestation.result import AttestationResult
from skrkit.cli.main import main
from skrkit.cloud import Cloud
from skrkit.errors import ParseError, ServiceError, SkrkitError, UsageError
from skrkit.provision.stage import Stage
from skrkit.remote.carrying import carried, parse_carried
from skrkit.remote.names import errand_of, parse_errand
from skrkit.remote.outside import PIECE_BYTES, release_remotely
from skrkit.remote.package import LEFT_AT_HOME, this_package
from skrkit.run_command.answer import parse_slice
from skrkit.run_command.order import MAX_SCRIPT_BYTES, Order, lines_of, script_of
from skrkit.services import arm
from skrkit.services.run_command import Output, parse_message, run_script
from skrkit.tpm.client import KeyHierarchy, TransientKey
from skrkit.walkthrough import Walk
from skrkit.wire import Described
from tests.sandbox.running import staged

STAGE = Stage()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with staged(tmp_path_factory.mktemp("remote")) as endpoint:
        yield Cloud.sandbox(home=endpoint.home)


@pytest.fixture(scope="module")
def compute(cloud: Cloud) -> Iterator[ComputeManagementClient]:
    with arm.compute(cloud) as client:
        yield client


@pytest.fixture(scope="module")
def walked(cloud: Cloud) -> list[Artefact]:
    """A walk from outside, steps 1 to 4."""
    return Walk(cloud=cloud, stage=STAGE, remote=release_remotely).run()


def order_of(cloud: Cloud) -> Order:
    return Order(do="release", build="0.1.0-abc", members=errand_of(cloud, STAGE, None, (4,)).members())


def test_it_shows_what_a_walk_inside_shows(cloud: Cloud, walked: list[Artefact]) -> None:
    here = Walk(cloud=cloud, stage=STAGE).run()
    # The token of step 1 comes from inside, and so with step 4.
    assert sorted((each.step, each.name) for each in walked) == sorted((each.step, each.name) for each in here)
    kinds = {each.name: each.to_json()["kind"] for each in here}
    assert {each.name: each.to_json()["kind"] for each in walked} == kinds


def test_what_comes_back_is_the_vms_own(cloud: Cloud, walked: list[Artefact]) -> None:
    by_name = {each.name: each for each in walked}
    local = by_name["local-verification"].body
    assert isinstance(local, AttestationResult)
    assert (local.verdict, local.root) == ("verified", "sandbox")
    claims = by_name["access-token"].body
    assert isinstance(claims, dict)
    identity = by_name["identity-object-id"].body
    assert isinstance(identity, dict)
    assert claims["claims"]["oid"] == identity["principalId"]  # type: ignore[index, call-overload]


def test_it_can_be_taken_alone(cloud: Cloud, walked: list[Artefact]) -> None:
    made = Walk(cloud=cloud, stage=STAGE, steps=(4,), remote=release_remotely).run()
    assert {each.step for each in made} == {4}
    assert made[-1].name == "platform-released"


def test_the_error_of_the_walk_in_the_vm_comes_back_as_it_was(cloud: Cloud, walked: list[Artefact]) -> None:
    walk = Walk(cloud=cloud, stage=Stage(key="nobody-made-it"), steps=(4,))
    with pytest.raises(SkrkitError) as caught:
        list(release_remotely(walk, None))
    inside = Walk(cloud=cloud, stage=Stage(key="nobody-made-it"), steps=(4,))
    with pytest.raises(SkrkitError) as same:
        inside.run_inside(None)
    assert type(caught.value) is type(same.value)
    assert (caught.value.what, caught.value.expected) == (same.value.what, same.value.expected)


def test_artefacts_travel_whole(cloud: Cloud, walked: list[Artefact]) -> None:
    error = ServiceError(what="a", where="b", expected="c", found="d", fix="e", status=403, code="Forbidden")
    back, failed = parse_carried(carried(walked, error=error))
    assert [each.to_json() for each in back] == [each.to_json() for each in walked]
    assert [each.points_at for each in back] == [each.points_at for each in walked]
    assert isinstance(failed, ServiceError)
    assert (failed.to_json(), failed.status, failed.code) == (error.to_json(), 403, "Forbidden")
    assert sum(isinstance(each.body, Described) for each in back) > 10


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"artefacts":[{}],"blobs":{}}',
        b'{"artefacts":[],"blobs":{"00":"AAAA"}}',
        b'{"artefacts":[],"blobs":{},"error":{"error":"SystemExit"}}',
        b'{"artefacts":[],"blobs":{},"error":{"error":"ServiceError","nonsense":1}}',
    ],
)
def test_another_document_is_refused(document: bytes) -> None:
    with pytest.raises(ParseError):
        parse_carried(document)


@pytest.mark.parametrize("members", [{}, {"choice": None, "stage": {"vm": "x", "nonsense": 1}, "steps": []}])
def test_an_order_with_other_members_is_refused(members: dict[str, object]) -> None:
    with pytest.raises(ParseError) as caught:
        parse_errand(members)
    assert caught.value.what == "order of a run command"


@pytest.mark.parametrize(
    "script",
    [
        ["id"],
        [],
        lines_of(script_of(Order(do="install", build="x", members={"pieces": 1, "sha256": "0", "wheel": "w"}))),
        [*lines_of(script_of(Order(do="answer", build="x", members={"slice": 0}))), "id"],
    ],
)
def test_no_other_script_runs(compute: ComputeManagementClient, script: list[str]) -> None:
    body = RunCommandInput(command_id="RunShellScript", script=script)
    with pytest.raises(HttpResponseError) as caught:
        compute.virtual_machines.begin_run_command(STAGE.resource_group, STAGE.vm, body)
    assert caught.value.status_code == 501
    assert caught.value.error is not None
    assert caught.value.error.code == "NotInSandbox"


def test_an_order_for_azure_does_not_run_in_the_sandbox(cloud: Cloud, compute: ComputeManagementClient) -> None:
    order = order_of(cloud)
    elsewhere = Order(do="release", build=order.build, members={**order.members, "world": "azure"})
    with pytest.raises(ServiceError) as caught:
        run_script(compute, resource_group=STAGE.resource_group, vm=STAGE.vm, script=script_of(elsewhere))
    assert caught.value.status == 501


def test_an_answer_that_was_read_to_its_end_is_gone(
    cloud: Cloud, compute: ComputeManagementClient, walked: list[Artefact]
) -> None:
    order = Order(do="answer", build="0.1.0-abc", members={"slice": 0, "sha256": "0" * 64})
    output = run_script(compute, resource_group=STAGE.resource_group, vm=STAGE.vm, script=script_of(order))
    assert parse_slice(output.stdout) is None
    assert "it was read to its end already" in output.stderr


def test_one_script_at_a_time(cloud: Cloud, compute: ComputeManagementClient) -> None:
    def begin() -> object:
        body = RunCommandInput(command_id="RunShellScript", script=lines_of(script_of(order_of(cloud))))
        return compute.virtual_machines.begin_run_command(STAGE.resource_group, STAGE.vm, body)

    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        outcomes = [each.exception() for each in [pool.submit(begin) for _ in range(2)]]
    refused = [each for each in outcomes if each is not None]
    assert len(refused) == 1
    assert isinstance(refused[0], ResourceExistsError)
    assert "execution is in progress" in str(refused[0])


def test_a_restart_measures_the_boot_anew_and_forgets_the_null_hierarchy(
    cloud: Cloud, compute: ComputeManagementClient
) -> None:
    def keys_and_pcrs() -> tuple[bytes, bytes, dict[int, bytes]]:
        made: list[TransientKey] = []
        hierarchies: tuple[KeyHierarchy, ...] = ("null", "owner")
        with cloud.enter(STAGE.vm).open_tpm() as tpm:
            for hierarchy in hierarchies:
                made.append(tpm.create_ephemeral_key((0, 7), hierarchy=hierarchy))
                tpm.flush(made[-1].handle)
            return made[0].public.marshal(), made[1].public.marshal(), tpm.pcr_read((0, 7, 16))

    with cloud.enter(STAGE.vm).open_tpm() as tpm:
        tpm.pcr_extend(16, b"\x01" * 32)
    null, owner, pcrs = keys_and_pcrs()
    assert (null, owner) == keys_and_pcrs()[:2]
    compute.virtual_machines.begin_restart(STAGE.resource_group, STAGE.vm).result()
    null_after, owner_after, pcrs_after = keys_and_pcrs()
    assert null_after != null
    assert owner_after == owner
    assert pcrs_after == {0: pcrs[0], 7: pcrs[7], 16: b"\0" * 32}
    assert pcrs[16] != pcrs_after[16]


def test_a_vm_that_is_off_is_nowhere_and_wakes_up_with_what_its_vtpm_keeps(
    cloud: Cloud, compute: ComputeManagementClient
) -> None:
    def power() -> str:
        view = compute.virtual_machines.instance_view(STAGE.resource_group, STAGE.vm)
        return str(view.statuses[-1].code)  # type: ignore[index]

    with cloud.enter(STAGE.vm).open_tpm() as tpm:
        certificate = tpm.nv_read(0x01C101D0)
    for stop, said in (
        (compute.virtual_machines.begin_power_off, "PowerState/stopped"),
        (compute.virtual_machines.begin_deallocate, "PowerState/deallocated"),
    ):
        stop(STAGE.resource_group, STAGE.vm).result()
        assert power() == said
        with pytest.raises(UsageError):
            cloud.enter(STAGE.vm)
        with pytest.raises(ServiceError) as caught:
            run_script(compute, resource_group=STAGE.resource_group, vm=STAGE.vm, script=script_of(order_of(cloud)))
        assert (caught.value.status, caught.value.code) == (409, "OperationNotAllowed")
        with pytest.raises(ResourceExistsError):
            compute.virtual_machines.begin_restart(STAGE.resource_group, STAGE.vm)
    compute.virtual_machines.begin_start(STAGE.resource_group, STAGE.vm).result()
    assert power() == "PowerState/running"
    with cloud.enter(STAGE.vm).open_tpm() as tpm:
        assert tpm.nv_read(0x01C101D0) == certificate
    assert Walk(cloud=cloud, stage=STAGE, steps=(4,)).run()[-1].name == "platform-released"


# The message of a Linux VM as Microsoft's documents of run command show it.
MESSAGE = "Enable succeeded: \n[stdout]\nlinux-vm\n\n[stderr]\n"


@pytest.mark.parametrize(
    ("message", "output"),
    [
        (MESSAGE, Output(stdout="linux-vm\n", stderr="")),
        ("Enable succeeded: \n[stdout]\n\n[stderr]\nno such file\n", Output(stdout="", stderr="no such file")),
        ("Enable succeeded:", None),
        ("", None),
    ],
)
def test_both_streams_are_read_from_the_message(message: str, output: Output | None) -> None:
    assert parse_message(message) == output


def test_the_package_is_the_same_each_time_and_fits_into_scripts() -> None:
    package = this_package()
    this_package.cache_clear()
    assert this_package() == package
    for number, piece in enumerate(package.pieces(PIECE_BYTES)):
        import base64

        text = base64.b64encode(piece).decode()
        order = Order(do="piece", build=package.build, members={"number": number, "sha256": "0" * 64, "text": text})
        assert len(script_of(order)) <= MAX_SCRIPT_BYTES


def test_pip_takes_the_package_for_a_wheel(tmp_path: Path) -> None:
    package = this_package()
    wheel = tmp_path / package.name
    wheel.write_bytes(package.data)
    target = tmp_path / "there"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    done = subprocess.run([*command, str(wheel)], capture_output=True, text=True, check=False)
    if "No module named pip" in done.stderr:
        pytest.skip("this Python has no pip")
    assert done.returncode == 0, done.stderr
    assert (target / "skrkit" / "remote" / "inside.py").is_file()
    assert not any((target / name).exists() for name in LEFT_AT_HOME)


def test_step_four_imports_nothing_that_stays_at_home(cloud: Cloud, walked: list[Artefact], tmp_path: Path) -> None:
    """The far end runs as in a VM of the sandbox; of what is left at home it may have loaded the sandbox alone."""
    program = (
        "import sys; from skrkit.cloud import Cloud; from skrkit.provision.stage import Stage\n"
        "from skrkit.walkthrough import Walk; from skrkit.remote.carrying import carried\n"
        "from pathlib import Path\n"
        f"walk = Walk(cloud=Cloud.sandbox(home=Path({str(cloud.ca_file.parent if cloud.ca_file else '')!r})), "
        "stage=Stage(), steps=(1, 4))\n"
        "carried(walk.run_inside(None))\n"
        "print('\\n'.join(name for name in sys.modules if name.startswith('skrkit.')))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    left = [name.rstrip("/").replace("/", ".") for name in LEFT_AT_HOME if name != "skrkit/sandbox/"]
    loaded = done.stdout.splitlines()
    assert len(loaded) > 50
    assert [name for name in loaded if any(name == each or name.startswith(f"{each}.") for each in left)] == []


def test_the_plan_says_what_goes_into_the_vm(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["--resource-group", "g", "--vm", "m", "--vault", "my-vault", "--key", "k", "--subscription", "s"]
    provider = ["--attestation", "https://sharedweu.weu.attest.azure.net"]
    command = ["walkthrough", "--cloud", "azure", "--json", *names, *provider]
    assert main([*command, "--remote"]) == 0
    remote = json.loads(capsys.readouterr().out)["plan"]
    assert main(command) == 0
    inside = json.loads(capsys.readouterr().out)["plan"]
    assert remote[:3] == inside[:3]
    assert remote[3].startswith("Inside m, by run command, as root: put this skrkit into /var/lib/skrkit")
    assert remote[4].startswith("Inside m, by run command, as root: write a nonce's digest to its vTPM")
    assert "which must be this machine" in inside[3]
    assert main([*command, "--remote", "--step", "4"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"] == remote[3:]
    assert main([*command, "--remote", "--step", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"] == remote[:2]
