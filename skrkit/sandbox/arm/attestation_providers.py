"""Attestation providers as resources: one's own, with host name, keys and policies; and the shared ones to look up.

Members, and what an empty list of certificates means, are as in the recordings of the Azure CLI's extension
`attestation`: no `systemData`, `tags` where there are some, the switches since api-version 2021-06-01 and null until
somebody sets them.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from skrkit.sandbox.arm import errors
from skrkit.sandbox.arm.call import ARM_KIND, Call, Handler
from skrkit.sandbox.arm.errors import bad_request
from skrkit.sandbox.maa import providers, signers
from skrkit.sandbox.roles import assignment
from skrkit.sandbox.store import Document
from skrkit.sandbox.web import AzureError, JSONResponse
from skrkit.sandbox.world import World
from skrkit.token.providers import SHARED_PROVIDERS, is_shared_provider, shared_provider_host

PROVIDER_TYPE = "Microsoft.Attestation/attestationProviders"
_SWITCHES = ("publicNetworkAccess", "tpmAttestationAuthentication")
_SWITCHES_SINCE = "2021-06-01"


def put_provider(call: Call) -> Response:
    """Return 201 with a new provider, 200 for one that is there: its tags and switches change.

    `properties.policySigningCertificates` with keys makes it isolated, for good; a later PUT does not touch its
    signers (inferred).
    """
    call.require_group()
    with call.lock, call.world.store.transaction():
        before = call.read(call.resource_id(PROVIDER_TYPE, call.path["provider"]))
        body = _made(call) if before is None else _changed(call, before, whole=True)
        call.write(body)
    if before is not None:
        return JSONResponse(_shown(call, body))
    return JSONResponse(_shown(call, body), 201, headers={"Location": f"{body['properties']['attestUri']}/"})


def _shown(call: Call, body: Document) -> Document:
    """Return a provider as this api-version has it."""
    shown = body if body["tags"] else {name: value for name, value in body.items() if name != "tags"}
    if call.api_version >= _SWITCHES_SINCE:
        return shown
    properties = {name: value for name, value in body["properties"].items() if name not in _SWITCHES}
    return {**shown, "properties": properties}


def _made(call: Call) -> Document:
    name = call.path["provider"]
    if not providers.is_name(name):  # the words are not known (inferred)
        raise bad_request(
            f"The provider name '{name}' is invalid: 3 to 24 letters and digits.", code="InvalidResourceName"
        )
    location = _location(call)
    host = providers.host_of(name, location)
    assert host is not None  # every region that a request may name has a shared provider
    if is_shared_provider(host) or providers.find(call.world, host) is not None:
        raise AzureError(  # a name is its host's, and so one's own in its region; code and words are inferred
            409, "Conflict", f"The attestation provider name '{name}' is already in use in {location}."
        )
    keys = call.object_of("policySigningCertificates", call.object_of("properties"))
    isolated = keys.get("keys") not in (None, [])  # the Azure CLI sends an empty list for a provider in AAD mode
    if isolated:
        signers.keep(call.world, host, signers.certificates_of_jwks(keys))
    provider_id = call.resource_id(PROVIDER_TYPE, name)
    providers.register(call.world, providers.Provider(host=host, resource_id=provider_id.lower(), isolated=isolated))
    properties = {"trustModel": "Isolated" if isolated else "AAD", "status": "Ready", "attestUri": f"https://{host}"}
    switches: dict[str, Any] = dict.fromkeys(_SWITCHES)
    body: Document = {
        "id": provider_id,
        "name": name,
        "type": PROVIDER_TYPE,
        "location": location,
        "tags": {},
        "properties": {**properties, **switches},
    }
    return _changed(call, body, whole=True)


def _location(call: Call) -> str:
    location = call.body.get("location")
    if not isinstance(location, str) or not location:
        raise errors.no_location()
    return location.lower().replace(" ", "")


def _changed(call: Call, before: Document, *, whole: bool) -> Document:
    """Return the provider with the body's tags and switches. `whole` is PUT, where absent tags are none."""
    if whole and _location(call) != before["location"]:
        raise errors.other_location(before, call.path["group"], _location(call))
    properties, given = dict(before["properties"]), call.object_of("properties")
    for name in _SWITCHES:
        if given.get(name) is None:
            continue
        if given[name] not in ("Enabled", "Disabled"):
            raise bad_request(f"The property '{name}' must be 'Enabled' or 'Disabled'.", target=name)
        properties[name] = given[name]
    tags = call.tags() if whole or call.body.get("tags") is not None else before["tags"]
    return before | {"tags": tags, "properties": properties}


def patch_provider(call: Call) -> Response:
    """Return the provider with the given members changed and the others kept."""
    with call.lock:
        body = _changed(call, call.require(PROVIDER_TYPE, call.path["provider"]), whole=False)
        call.write(body)
    return JSONResponse(_shown(call, body))


def get_provider(call: Call) -> Response:
    """Return the provider."""
    return JSONResponse(_shown(call, call.require(PROVIDER_TYPE, call.path["provider"])))


def list_providers(call: Call) -> Response:
    """Return the providers of the group, or of the subscription."""
    if "group" in call.path:
        call.require_group()
    found = call.resources(PROVIDER_TYPE, group="group" in call.path)
    return JSONResponse({"value": [_shown(call, body) for body in found]})


def delete_provider(call: Call) -> Response:
    """Return 200 after the provider was deleted with its keys, policies and signers; 204 if it was not there."""
    with call.lock:
        call.require_group()
        body = call.read(call.resource_id(PROVIDER_TYPE, call.path["provider"]))
        if body is None:
            return Response(status_code=204)
        remove(call.world, body)
    return Response(status_code=200)


def remove(world: World, body: Document) -> None:
    """Delete a provider for good. Tokens that it issued cannot be verified any longer: nobody publishes their key."""
    with world.store.transaction():
        providers.remove(world, str(body["properties"]["attestUri"]).removeprefix("https://"))
        world.store.delete(ARM_KIND, str(body["id"]).lower())
        assignment.remove_within(world, str(body["id"]))


def list_defaults(call: Call) -> Response:
    """Return the shared provider of every region."""
    return JSONResponse({"value": [_shared(region) for region in SHARED_PROVIDERS]})


def get_default(call: Call) -> Response:
    """Return the shared provider of one region. The location is as it was asked for (inferred from one recording)."""
    region = call.path["location"].lower().replace(" ", "")
    if region not in SHARED_PROVIDERS:  # the words are not known (inferred)
        raise AzureError(404, "ResourceNotFound", f"There is no default provider in the location '{region}'.")
    return JSONResponse(_shared(region) | {"location": call.path["location"]})


def _shared(region: str) -> Document:
    """Return a shared provider as a resource. It is in nobody's subscription."""
    host = shared_provider_host(region)
    assert host is not None
    name = host.partition(".")[0]
    return {
        "id": f"/providers/{PROVIDER_TYPE}/{name}",
        "name": name,
        "type": PROVIDER_TYPE,
        "location": region,
        "properties": {"trustModel": "AAD", "status": "Ready", "attestUri": f"https://{host}"},
    }


_SUB = "/subscriptions/{subscription}"
_PROVIDERS = f"{_SUB}/resourceGroups/{{group}}/providers/{PROVIDER_TYPE}"
_PROVIDER = f"{_PROVIDERS}/{{provider}}"
_READ_DEFAULT = "Microsoft.Attestation/defaultProviders/read"
ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("PUT", _PROVIDER, f"{PROVIDER_TYPE}/write", put_provider),
    ("PATCH", _PROVIDER, f"{PROVIDER_TYPE}/write", patch_provider),
    ("GET", _PROVIDER, f"{PROVIDER_TYPE}/read", get_provider),
    ("DELETE", _PROVIDER, f"{PROVIDER_TYPE}/delete", delete_provider),
    ("GET", _PROVIDERS, f"{PROVIDER_TYPE}/read", list_providers),
    ("GET", f"{_SUB}/providers/{PROVIDER_TYPE}", f"{PROVIDER_TYPE}/read", list_providers),
    ("GET", f"{_SUB}/providers/Microsoft.Attestation/defaultProviders", _READ_DEFAULT, list_defaults),
    ("GET", f"{_SUB}/providers/Microsoft.Attestation/locations/{{location}}/defaultProvider", _READ_DEFAULT,
     get_default),
)  # fmt: skip
