"""Any JSON in, an answer out: 2xx or a refusal in Azure's shape with the activity's id, never an exception."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from skrkit.sandbox.hsm.app import ROUTES
from tests.sandbox.hsm.azure import HOLDERS, ROLE, ROLES, HsmAzure, jwk

MEMBERS = [
    "kty", "key_size", "crv", "key_ops", "attributes", "exportable", "tags", "release_policy", "data", "key", "k", "n",
    "target", "enc", "nonce", "alg", "value", "iv", "aad", "tag", "digest", "count", "certificates", "required", "x5c",
    "x5t#S256", "properties", "roleDefinitionId", "principalId", "permissions", "dataActions", "roleName",
    "sasTokenParameters", "storageResourceUri", "token", "useManagedIdentity", "folderToRestore", "folder",
    "version",
]  # fmt: skip
WORDS = ["oct-HSM", "RSA-HSM", "A256GCM", "A256KW", "A256CBCPAD", "CKM_AES_KEY_WRAP_PAD", "AAAAAAAAAAAAAAAAAAAAAA",
         ROLE + ROLES["Backup"], ROLES["Backup"], "se=2199-01-01&sp=crdwl&sig=x",
         "https://account1.blob.core.windows.net/backups", "https://[/", "true",
         '{"EncData":{"data":[{"tag":"skrkit-sandbox-domain"}],"kdf":"sp108_kdf"},"WrappedKey":{"enc_key":"a.b.c.d.e"}}',
]  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers(-2, 300) | st.text(max_size=6) | st.sampled_from(WORDS)


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4)


VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | _objects(inner), max_leaves=8)
WRITTEN = [(method, path) for method, path, _, _ in ROUTES if method in ("POST", "PUT", "PATCH")]
PATHS = st.sampled_from(["", "/keys", "/keys/oct"])


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HsmAzure]:
    """One sandbox for the whole file, whose operator has every role."""
    made = HsmAzure(tmp_path_factory.mktemp("fuzz"))
    made.make_group()
    made.make_hsm()
    made.activate()
    for number, role in enumerate(ROLES):
        made.grant(role, scope="/", guid=f"eeeeeeee-0000-4000-8000-{number:012}")
    made.hsm("POST", "/keys/oct/create", {"kty": "oct-HSM"})
    yield made
    made.world.store.close()


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(route=st.sampled_from(WRITTEN), scope=PATHS, body=_objects(VALUES))
@example(("POST", "/securitydomain/download"), "", {"certificates": [jwk(key) for key in HOLDERS], "required": 10**30})
@example(("POST", "/keys/{name}/encrypt"), "", {"alg": "A256CBC", "value": "AAAA", "iv": "AAAAAAAAAAAAAAAAAAAAAA"})
@example(("POST", "/keys/{name}/encrypt"), "", {"alg": "A256KW", "value": "AAAA"})
@example(("POST", "/keys/{name}/decrypt"), "", {"alg": "A256KW", "value": "AAAA"})
@example(("POST", "/keys/{name}/create"), "", {"kty": "oct-HSM", "key_size": True})
@example(("POST", "/keys/{name}/create"), "", {"kty": ["RSA"]})
def test_the_hsm_answers(azure: HsmAzure, route: tuple[str, str], scope: str, body: Any) -> None:
    method, path = route
    ids = {"guid": "ffffffff-0000-4000-8000-000000000000", "setting": "AllowKeyManagementOperationsThroughARM"}
    named = path.format(name="oct", version="0" * 32, scope=scope, **ids)
    answer = azure.hsm(method, named, body)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert error["message"].endswith(f"(Activity ID: {answer.headers['x-ms-request-id']})")
        assert error["code"]
