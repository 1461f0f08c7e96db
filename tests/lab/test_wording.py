"""An error in a kernel: skrkit's own and a sandbox that has ended in a few words, everything else as IPython has it."""

from __future__ import annotations

from pathlib import Path

from azure.core.exceptions import ServiceRequestError

from skrkit.lab.wording import not_running
from skrkit.sandbox import process
from tests.lab.test_kernel import Kernel, kernel  # noqa: F401 - a fixture

REFUSED = "HTTPSConnection(host='127.0.0.1', port=40531): Failed to establish a new connection: Connection refused"
CLIENT = """
from azure.keyvault.keys import KeyClient
from skrkit import lab
world = lab.ensure(step=3)
url = "https://skrkit-vault.vault.azure.net"
keys = KeyClient(url, world.cloud.credential(), **world.cloud.client_options())
keys.get_key("release-me").name
"""


def raised(text: str) -> RuntimeError:
    """Return an error that another one with this text caused, as the Azure SDKs wrap theirs."""
    try:
        try:
            raise ServiceRequestError(text)
        except ServiceRequestError as cause:
            raise RuntimeError("no response") from cause
    except RuntimeError as error:
        return error


def test_a_sandbox_that_has_ended_is_said_and_one_that_runs_is_not(home: Path) -> None:
    process.down(home)
    said = not_running(raised(REFUSED))
    assert said is not None
    assert (said.code, said.found) == ("SandboxNotRunning", "none: it has ended")
    assert "lab.start()" in said.fix
    process.up(home)
    assert not_running(raised(REFUSED)) is None


def test_the_network_of_a_real_cloud_is_no_matter_of_the_sandbox(home: Path) -> None:
    process.down(home)
    assert not_running(raised("Failed to resolve 'skrkit-vault.vault.azure.net'")) is None


def test_errors_that_cause_one_another_come_to_an_end(home: Path) -> None:
    process.down(home)
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert not_running(one) is None


def test_after_the_sandbox_has_ended_a_cell_says_so_and_the_fix_is_one(
    kernel: Kernel,  # noqa: F811
    shared_home: Path,
) -> None:
    assert kernel.run(CLIENT)[0] == "ok"
    process.down(shared_home)
    status, shown = kernel.run('keys.get_key("release-me").name')
    assert status == "error"
    assert "error: sandbox at the address that this cell asked" in shown
    assert "Run lab.start(), then this cell again." in shown
    assert "Traceback" not in shown
    assert "site-packages" not in shown
    kernel.run("lab.start()")
    status, shown = kernel.run('keys.get_key("release-me").name')
    assert (status, "'release-me'" in shown) == ("ok", True)


def test_an_answer_of_azure_keeps_its_traceback(kernel: Kernel) -> None:  # noqa: F811
    assert kernel.run(CLIENT)[0] == "ok"
    status, shown = kernel.run("keys.get_key('release-me').key.n.nothing")
    assert (status, "AttributeError" in shown) == ("error", True)
    code = (
        "from azure.core.exceptions import ClientAuthenticationError; raise ClientAuthenticationError('no such tenant')"
    )
    status, shown = kernel.run(code)
    assert (status, "no such tenant" in shown, "Traceback" in shown) == ("error", True, True)
