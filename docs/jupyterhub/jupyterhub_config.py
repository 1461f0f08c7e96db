"""JupyterHub for a workshop on one machine: everybody gets a folder, the notebooks, and a sandbox of their own.

    SKRKIT_ROOM_PASSWORD=… SKRKIT_ROOM=/srv/workshop jupyterhub --config docs/jupyterhub/jupyterhub_config.py

All attendees share one account of this machine, and can read one another's files: for a room of people who may.
The password is one for all. Nothing here listens on more than loopback until SKRKIT_ROOM_URL says so.
"""

import os
import shutil
import sys
from pathlib import Path

c = get_config()  # noqa: F821 - JupyterHub puts it here

MIN_PASSWORD = 8
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
ROOM = Path(os.environ.get("SKRKIT_ROOM") or Path.home() / "skrkit-workshop").resolve()
PASSWORD = os.environ.get("SKRKIT_ROOM_PASSWORD", "")
if len(PASSWORD) < MIN_PASSWORD:
    sys.exit(f"Set SKRKIT_ROOM_PASSWORD to a password of {MIN_PASSWORD} characters or more: nobody could log in.")
ROOM.mkdir(mode=0o700, parents=True, exist_ok=True)

c.JupyterHub.bind_url = os.environ.get("SKRKIT_ROOM_URL", "http://127.0.0.1:8000")
c.JupyterHub.hub_bind_url = os.environ.get("SKRKIT_ROOM_HUB_URL", "http://127.0.0.1:8081")
c.JupyterHub.cookie_secret_file = str(ROOM / "cookie_secret")
c.JupyterHub.db_url = f"sqlite:///{ROOM / 'hub.sqlite'}"
c.ConfigurableHTTPProxy.pid_file = str(ROOM / "proxy.pid")

c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = PASSWORD
c.Authenticator.allow_all = True
c.Authenticator.username_pattern = r"[a-z][a-z0-9-]{0,31}\Z"  # it becomes the name of a folder

c.JupyterHub.spawner_class = "simple"
# No limit of simultaneous starts: it does not queue, it turns people away with "try again in 50 seconds".
# Twenty at once only take their time.
c.JupyterHub.concurrent_spawn_limit = 0
c.Spawner.start_timeout = 180
c.Spawner.http_timeout = 120
c.SimpleLocalProcessSpawner.home_dir_template = f"{ROOM}/{{username}}"
c.Spawner.default_url = "/lab/tree/notebooks/00_start_here.ipynb"
c.Spawner.args = [
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
    "--LanguageServerManager.autodetect=False",
]
if hasattr(os, "geteuid") and os.geteuid() == 0:
    c.Spawner.args.append("--allow-root")


def sandbox_of(spawner):
    """Return the state folder of an attendee's own sandbox, which starts with the first cell that asks for it."""
    return str(ROOM / spawner.user.name / ".skrkit")


def hand_out_notebooks(spawner):
    """Copy the notebooks into the attendee's folder, at the first start: what is changed later is theirs, and stays."""
    folder = ROOM / spawner.user.name / "notebooks"
    if not folder.exists():
        shutil.copytree(NOTEBOOKS, folder, ignore=shutil.ignore_patterns("*.py", "*.toml", "src", "__pycache__"))


c.Spawner.pre_spawn_hook = hand_out_notebooks
c.Spawner.environment = {
    "SKRKIT_HOME": sandbox_of,
    "SKRKIT_SANDBOX_IDLE_S": "7200",  # a sandbox outlives its kernel, and ends by itself
    "JUPYTER_PREFER_ENV_PATH": "1",
}
