"""FIDELITY.md lists each operation, and each as it is: what a service has is in it, and what is absent refuses."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from skrkit.sandbox.app import PLAIN_SERVICES, SERVICES
from skrkit.sandbox.endpoint import Endpoint
from tests.sandbox.operations import APPS, FIDELITY, HEADING, TABLES, Operation, listed, routed
from tests.sandbox.running import STAGE, operator_token, send

LISTED = dict(listed())
ABSENT = sorted(each for each, said in LISTED.items() if said == "absent")
HOSTS = {
    "*.vault.azure.net": f"{STAGE.vault}.vault.azure.net",
    "*.attest.azure.net": STAGE.attestation.removeprefix("https://"),
}
AUDIENCES = {
    "management.azure.com": "https://management.azure.com",
    "*.vault.azure.net": "https://vault.azure.net",
    "*.attest.azure.net": "https://attest.azure.net",
    "graph.microsoft.com": "https://graph.microsoft.com",
}


def test_every_route_is_listed() -> None:
    assert sorted(set(routed()) - set(LISTED)) == []


def test_everything_listed_has_a_route_unless_it_is_absent() -> None:
    there = set(routed())
    assert sorted(each for each, said in LISTED.items() if said != "absent" and each not in there) == []
    assert [each for each in ABSENT if each in there] == []


def test_each_is_listed_once_and_as_one_of_three() -> None:
    assert [each for each, count in Counter(each for each, _ in listed()).items() if count > 1] == []
    assert set(LISTED.values()) == {"faithful", "simplified", "absent"}


def test_what_compares_is_there() -> None:
    section = FIDELITY.read_text(encoding="utf-8").partition("## What the answers were compared with")[2]
    named = re.findall(r"`(tests/[^`]+)`", section.partition(HEADING)[0])
    root = Path(__file__).parents[2]
    assert len(named) >= 6
    assert [each for each in named if not (root / each).exists()] == []


def test_every_service_is_walked() -> None:
    """A host that the sandbox answers for, and that no table here has, would be a gap in all of the above."""
    modules = {value for name, value in [*SERVICES.items(), *PLAIN_SERVICES.items()] if name != "sandbox.skrkit"}
    walked = {"skrkit.sandbox." + name for name in ("entra", "imds", "kds", "graph", "maa.routes")}
    walked |= {"skrkit.sandbox.arm.app", "skrkit.sandbox.vault.app", "skrkit.sandbox.hsm.app"}
    assert modules == walked
    assert len(TABLES) + len(APPS) == len(walked)


@pytest.mark.parametrize("operation", ABSENT, ids=" ".join)
def test_what_is_absent_refuses_by_name(sandbox: Endpoint, operation: Operation) -> None:
    method, host, path = operation
    url = path.replace("{subscription}", sandbox.subscription).replace("{group}", STAGE.resource_group)
    url = url.replace("{vault}", STAGE.vault).replace("{vm}", STAGE.vm).replace("{tenant}", sandbox.tenant)
    url = re.sub(r"\{\w+\}", "name", url)
    port: int | None = None
    headers: dict[str, str] = {}
    if host == "169.254.169.254":
        url, port, headers = f"http://{host}{url}", sandbox.vm(STAGE.vm).proxy_port, {"Metadata": "true"}
    else:
        url = f"https://{HOSTS.get(host, host)}{url}"
    if host in AUDIENCES:
        headers["Authorization"] = f"Bearer {operator_token(sandbox, AUDIENCES[host])}"
    body: dict[str, str] | None = {} if method in ("PUT", "POST", "PATCH") else None
    version = "7.4" if host == "*.vault.azure.net" else "2021-12-13"
    answer = send(sandbox, method, f"{url}?api-version={version}", body, port=port, **headers)
    assert answer.status in (400, 404, 405, 501), answer.body[:200]
    assert answer.json()["error"]
