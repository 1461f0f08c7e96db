"""What leads a program into the sandbox: outside as the operator, inside a VM as nobody but the VM."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from skrkit.cli.sandbox import _exports
from skrkit.errors import UsageError
from skrkit.sandbox.endpoint import Endpoint, VmDoor
from skrkit.sandbox.environment import environment_of

DOOR = VmDoor(
    name="cvm-1", resource_id="/subscriptions/s/x/cvm-1", proxy_port=4001, tpm_port=4002, event_log="/state/log"
)
ENDPOINT = Endpoint(
    home=Path("/state"), pid=1, port=4000, version="0", started="", tenant="the-tenant",
    subscription="the-subscription",
    client_id="the-client", operator_oid="", secret="the control secret", client_secret="the operator's secret",
    vms=(DOOR, replace(DOOR, name="cvm-2", proxy_port=4003, tpm_port=4004)),
)  # fmt: skip
AWKWARD = replace(ENDPOINT, home=Path('/it\'s a "home" of $HOME `x` \\ and é'))


def test_outside() -> None:
    variables, removed = environment_of(ENDPOINT, None)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        assert variables[name] == "http://127.0.0.1:4000"
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
        assert variables[name] == str(Path("/state") / "ca.pem")
    assert variables["AZURE_TENANT_ID"] == "the-tenant"
    assert variables["AZURE_SUBSCRIPTION_ID"] == "the-subscription"
    assert (variables["AZURE_CLIENT_ID"], variables["AZURE_CLIENT_SECRET"]) == ("the-client", "the operator's secret")
    assert {"TPM2TOOLS_TCTI", "TPM2_PYTSS_TCTI", "SKRKIT_VM", "SKRKIT_EVENT_LOG"} <= set(removed)


def test_inside() -> None:
    variables, removed = environment_of(ENDPOINT, "CVM-2")
    assert variables["HTTPS_PROXY"] == variables["http_proxy"] == "http://127.0.0.1:4003"
    assert variables["TPM2TOOLS_TCTI"] == variables["TPM2_PYTSS_TCTI"] == "swtpm:host=127.0.0.1,port=4004"
    assert (variables["SKRKIT_VM"], variables["SKRKIT_EVENT_LOG"]) == ("cvm-2", "/state/log")
    assert not any("secret" in value or "the-client" in value for value in variables.values())
    assert {"AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"} <= set(removed)


@pytest.mark.parametrize("vm", [None, "cvm-1"])
def test_what_would_lead_elsewhere_is_removed(vm: str | None) -> None:
    variables, removed = environment_of(ENDPOINT, vm)
    assert {"NO_PROXY", "no_proxy", "ALL_PROXY",
            "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "IMDS_ENDPOINT",
            "AZURE_POD_IDENTITY_AUTHORITY_HOST", "AZURE_AUTHORITY_HOST", "AZURE_FEDERATED_TOKEN_FILE",
            "AZURE_REGIONAL_AUTHORITY_NAME", "AZURE_TOKEN_CREDENTIALS"} <= set(removed)  # fmt: skip
    assert not set(variables) & set(removed)
    assert "the control secret" not in variables.values()


def test_a_vm_that_is_not_there() -> None:
    with pytest.raises(UsageError) as refused:
        environment_of(ENDPOINT, "cvm-9")
    assert (refused.value.found, refused.value.expected) == ("cvm-9", "cvm-1, cvm-2")
    with pytest.raises(UsageError) as refused:
        environment_of(replace(ENDPOINT, vms=()), "cvm-1")
    assert "none yet" in refused.value.expected


@pytest.mark.parametrize("shell", ["sh", "bash", "fish"])
@pytest.mark.parametrize("vm", [None, "cvm-1"])
def test_a_shell_takes_the_lines_as_they_are_meant(shell: str, vm: str | None) -> None:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"NO {shell.upper()}: its lines were not read by it")
    variables, removed = environment_of(AWKWARD, vm)
    lines = "\n".join(_exports(variables, removed, "fish" if shell == "fish" else "sh"))
    script = f'{lines}\nprintf "%s\\0" "$SSL_CERT_FILE" "$HTTPS_PROXY" "$AZURE_CLIENT_SECRET" "$NO_PROXY"'
    before = {"PATH": "/usr/bin:/bin", "NO_PROXY": "*", "AZURE_CLIENT_SECRET": "of before"}
    done = subprocess.run([found, "-c", script], env=before, capture_output=True, check=True, timeout=20)
    assert done.stderr == b""
    assert done.stdout.decode().split("\0")[:-1] == [
        str(AWKWARD.ca_file), variables["HTTPS_PROXY"], "" if vm else "the operator's secret", "",
    ]  # fmt: skip


def test_powershell_lines_double_their_quotes() -> None:
    variables, removed = environment_of(AWKWARD, None)
    lines = _exports(variables, removed, "powershell")
    assert "$env:AZURE_CLIENT_SECRET = 'the operator''s secret'" in lines
    assert "Remove-Item Env:NO_PROXY -ErrorAction SilentlyContinue" in lines
    assert all(line.count("'") % 2 == 0 for line in lines)
