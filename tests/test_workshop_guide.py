"""The configurations for a workshop: JupyterHub on one machine, and the values for its Helm chart on Kubernetes.

What the chart has is written down here from its own schema, whole, name by name: a value that the chart does not know
ends an installation.
"""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "workshop.md").read_text(encoding="utf-8")
CONFIG = ROOT / "docs" / "jupyterhub" / "jupyterhub_config.py"
VALUES = ROOT / "docs" / "jupyterhub" / "values.yaml"

# jupyterhub/values.schema.yaml of zero-to-jupyterhub-k8s 4.4.0: properties of objects that allow no others.
CHART = {
    "": "cull custom debug enabled fullnameOverride global hub httpRoute imagePullSecret imagePullSecrets ingress "
    "nameOverride prePuller proxy rbac scheduling singleuser",
    "hub": "activeServerLimit allowNamedServers annotations args authenticatePrometheus baseUrl command "
    "concurrentSpawnLimit config consecutiveFailureLimit containerSecurityContext cookieSecret db deploymentStrategy "
    "existingSecret extraConfig extraContainers extraEnv extraFiles extraPodSpec extraVolumeMounts extraVolumes fsGid "
    "image initContainers labels lifecycle livenessProbe loadRoles namedServerLimitPerUser networkPolicy nodeSelector "
    "pdb podSecurityContext readinessProbe redirectToServer resources revisionHistoryLimit service serviceAccount "
    "services shutdownOnLogout templatePaths templateVars tolerations",
    "proxy": "annotations chp deploymentStrategy https labels secretSync secretToken service traefik",
    "proxy.service": "annotations disableHttpPort externalIPs extraPorts ipFamilies ipFamilyPolicy labels "
    "loadBalancerIP loadBalancerSourceRanges nodePorts type",
    "singleuser": "allowPrivilegeEscalation cloudMetadata cmd cpu defaultUrl events extraAnnotations extraContainers "
    "extraEnv extraFiles extraLabels extraNodeAffinity extraPodAffinity extraPodAntiAffinity extraPodConfig "
    "extraResource extraTolerations fsGid image initContainers lifecycleHooks memory networkPolicy networkTools "
    "nodeSelector podNameTemplate profileList serviceAccountName startTimeout storage uid",
    "singleuser.cpu": "guarantee limit",
    "singleuser.memory": "guarantee limit",
    "singleuser.image": "name pullPolicy pullSecrets tag",
    "singleuser.storage": "capacity dynamic extraLabels extraVolumeMounts extraVolumes homeMountPath static type",
    "singleuser.lifecycleHooks": "postStart preStop",
    "singleuser.networkPolicy": "allowedIngressPorts egress egressAllowRules enabled ingress "
    "interNamespaceAccessLabels",
    "singleuser.networkPolicy.egressAllowRules": "cloudMetadataServer dnsPortsCloudMetadataServer "
    "dnsPortsKubeSystemNamespace dnsPortsPrivateIPs nonPrivateIPs privateIPs",
    "scheduling": "corePods podPriority userPlaceholder userPods userScheduler",
    "scheduling.userScheduler": "annotations containerSecurityContext enabled extraPodSpec image labels logLevel "
    "nodeSelector pdb pluginConfig plugins replicas resources revisionHistoryLimit serviceAccount tolerations",
    "cull": "adminUsers concurrency enabled every maxAge removeNamedServers timeout users",
    "prePuller": "annotations containerSecurityContext continuous extraImages extraTolerations hook labels pause "
    "pullProfileListImages resources revisionHistoryLimit",
    "prePuller.hook": "containerSecurityContext daemonsetAnnotations enabled image nodeSelector "
    "podSchedulingWaitDuration pullOnlyOnChanges resources serviceAccount serviceAccountImagePuller tolerations",
}
FREE = (
    "hub.config",
    "singleuser.extraEnv",
    "singleuser.lifecycleHooks.postStart",
)  # the chart looks at no name in them


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="NO VALUES ARE READ: yaml is not installed. pip install 'skrkit[lab]'")
    parsed: dict[str, Any] = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
    return parsed


def unknown(values: dict[str, Any], path: str = "") -> list[str]:
    """Return the names that the chart does not know, each with the path to it."""
    found = []
    for name, value in values.items():
        at = f"{path}.{name}".lstrip(".")
        if name not in CHART[path].split():
            found.append(at)
        elif isinstance(value, dict) and at not in FREE:
            found += unknown(value, at)
    return found


def test_the_chart_knows_every_value(values: dict[str, Any]) -> None:
    assert unknown(values) == []


def test_a_value_that_the_chart_does_not_know_is_found(values: dict[str, Any]) -> None:
    storage = {**values["singleuser"]["storage"], "size": "1Gi"}
    wrong = {**values, "hubs": {}, "singleuser": {**values["singleuser"], "storage": storage, "profiles": []}}
    assert unknown(wrong) == ["singleuser.storage.size", "singleuser.profiles", "hubs"]


def test_the_values_hold_no_password_and_name_a_version_of_the_image(values: dict[str, Any]) -> None:
    assert not re.search(
        r"^\s*(\w*password|secretToken|cookieSecret):", VALUES.read_text(encoding="utf-8"), re.MULTILINE
    )
    image = values["singleuser"]["image"]
    assert isinstance(image["tag"], str)
    assert f"{image['name']}:{image['tag']}" in GUIDE  # what the guide builds is what they ask for
    assert values["singleuser"]["memory"] == {"guarantee": "512M", "limit": "1G"}


def test_the_notebooks_are_copied_from_where_the_image_has_them(values: dict[str, Any]) -> None:
    """A volume hides the image's home: the guide builds the repository elsewhere."""
    (command,) = [
        word for word in values["singleuser"]["lifecycleHooks"]["postStart"]["exec"]["command"] if "cp" in word
    ]
    target = re.search(r"--target-repo-dir (\S+)", GUIDE)
    assert target is not None
    assert f"{target[1]}/notebooks" in command
    assert values["singleuser"]["storage"].get("homeMountPath", "/home/jovyan") != target[1]
    kube = values["hub"]["config"]["KubeSpawner"]
    assert kube == {"working_dir": "/home/jovyan", "notebook_dir": "/home/jovyan"}


class Settings:
    """What a configuration sets, by section: `c.Section.name = value`, as JupyterHub hands it in."""

    def __init__(self) -> None:
        self.sections: dict[str, Settings] = {}
        self.set: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name[:1].isupper():
            return self.sections.setdefault(name, Settings())
        return self.__dict__["set"][name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("sections", "set"):
            super().__setattr__(name, value)
        else:
            self.set[name] = value


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("SKRKIT_ROOM", str(tmp_path / "room"))
    monkeypatch.setenv("SKRKIT_ROOM_PASSWORD", "a room's password")
    made = Settings()
    runpy.run_path(str(CONFIG), {"get_config": lambda: made})
    return made


class User:
    name = "attendee-7"


class Spawner:
    user = User


def test_each_attendee_has_a_sandbox_and_notebooks_of_their_own(settings: Settings, tmp_path: Path) -> None:
    spawner = settings.sections["Spawner"].set
    home = spawner["environment"]["SKRKIT_HOME"](Spawner)
    assert home == str(tmp_path / "room" / "attendee-7" / ".skrkit")
    copies = tmp_path / "room" / "attendee-7" / "notebooks"
    spawner["pre_spawn_hook"](Spawner)
    assert sorted(path.name for path in copies.glob("*.ipynb")) == sorted(
        path.name for path in (ROOT / "notebooks").glob("*.ipynb")
    )
    assert not (copies / "src").exists()
    (copies / "00_start_here.ipynb").write_text("changed")
    spawner["pre_spawn_hook"](Spawner)
    assert (copies / "00_start_here.ipynb").read_text() == "changed"


def test_it_listens_on_loopback_and_a_name_cannot_leave_the_room(settings: Settings) -> None:
    hub = settings.sections["JupyterHub"].set
    assert hub["bind_url"].startswith("http://127.0.0.1:")
    assert hub["hub_bind_url"].startswith("http://127.0.0.1:")
    pattern = settings.sections["Authenticator"].set["username_pattern"]
    for name in ("..", "a/b", "a.b", "", "Ada", "a b", "a/../..", "a\n"):
        assert not re.match(pattern, name)  # JupyterHub matches from the start, and not to the end
    assert re.match(pattern, "attendee-7")


@pytest.mark.parametrize("password", [None, "", "short"])
def test_without_a_password_it_does_not_start(tmp_path: Path, password: str | None) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "SKRKIT_ROOM_PASSWORD"}
    if password is not None:
        variables["SKRKIT_ROOM_PASSWORD"] = password
    variables["SKRKIT_ROOM"] = str(tmp_path / "room")
    code = f"import runpy; runpy.run_path({str(CONFIG)!r}, {{'get_config': lambda: None}})"
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Set SKRKIT_ROOM_PASSWORD to a password of 8 characters or more" in done.stderr
    assert not (tmp_path / "room").exists()


def test_jupyterhub_knows_every_setting(settings: Settings, tmp_path: Path) -> None:
    """Judged by JupyterHub itself, where it is installed: each setting is a trait of the class that it is set on."""
    reason = "NO JUPYTERHUB LOADS THE CONFIGURATION: pip install jupyterhub"
    app: Any = pytest.importorskip("jupyterhub.app", reason=reason)
    made = app.JupyterHub()
    made.load_config_file(str(CONFIG))
    assert made.authenticator_class.__name__ == "SharedPasswordAuthenticator"
    assert made.spawner_class.__name__ == "SimpleLocalProcessSpawner"
    known = [app.JupyterHub, made.proxy_class, *made.authenticator_class.__mro__, *made.spawner_class.__mro__]
    classes = {each.__name__: each for each in known}
    for section, inner in settings.sections.items():
        for name in inner.set:
            assert name in classes[section].class_trait_names(config=True), f"{section}.{name}"
