"""The settings of a Managed HSM: today there is one, whether Resource Manager may make and show its keys.

Names, type and values are as in recordings of Azure's own clients; codes and texts of refusals are inferred.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from skrkit.sandbox.hsm.resource import SETTING_KIND, HsmResource
from skrkit.sandbox.store import Document
from skrkit.sandbox.vault.call import Call
from skrkit.sandbox.vault.errors import bad_parameter
from skrkit.sandbox.web import AzureError

if TYPE_CHECKING:
    from skrkit.sandbox.world import World

KEYS_THROUGH_ARM = "AllowKeyManagementOperationsThroughARM"
_DEFAULTS = {KEYS_THROUGH_ARM: "false"}


def _values(world: World, hsm: HsmResource) -> dict[str, str]:
    return _DEFAULTS | (world.store.get(SETTING_KIND, hsm.name) or {})


def keys_through_arm(world: World, hsm: HsmResource) -> bool:
    """Return whether an administrator of the HSM lets Resource Manager make and show its keys."""
    return _values(world, hsm)[KEYS_THROUGH_ARM] == "true"


def _shown(name: str, value: str) -> Document:
    return {"name": name, "type": "boolean", "value": value}


def _hsm(call: Call) -> HsmResource:
    assert isinstance(call.vault, HsmResource)
    return call.vault


def _named(call: Call) -> str:
    found = next((name for name in _DEFAULTS if name.lower() == call.path["setting"].lower()), "")
    if not found:
        raise AzureError(404, "SettingNotFound", f"The setting '{call.path['setting']}' was not found")
    return found


def list_settings(call: Call) -> Response:
    """Return every setting with its value."""
    values = _values(call.world, _hsm(call))
    return JSONResponse({"settings": [_shown(name, value) for name, value in values.items()]})


def get_setting(call: Call) -> Response:
    """Return one setting."""
    name = _named(call)
    return JSONResponse(_shown(name, _values(call.world, _hsm(call))[name]))


def update_setting(call: Call) -> Response:
    """Return a setting with its new value, which holds at once. The value is a text, "true" or "false"."""
    name, value = _named(call), call.body.get("value")
    if value not in ("true", "false"):
        raise bad_parameter(f"The value of the setting '{name}' must be 'true' or 'false'.")
    with call.lock:
        call.world.store.put(SETTING_KIND, _hsm(call).name, _values(call.world, _hsm(call)) | {name: value})
    return JSONResponse(_shown(name, value))


# method, path, the data action that a local role must cover (not known: roles.UNLISTED), handler
ROUTES = (
    ("GET", "/settings", "settings/read/action", list_settings),
    ("GET", "/settings/{setting}", "settings/read/action", get_setting),
    ("PATCH", "/settings/{setting}", "settings/write/action", update_setting),
)
