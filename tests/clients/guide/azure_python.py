"""Steps 3 and 4 of the guide by Azure's SDK for Python; nothing of skrkit.

python azure_python.py create VAULT NAME POLICY_FILE     outside, as the operator: prints the key's id
python azure_python.py release VAULT NAME TOKEN_FILE     inside the VM: prints the signed answer of the vault
"""

import sys
from pathlib import Path

from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from azure.keyvault.keys import KeyClient, KeyReleasePolicy


def create(keys: KeyClient, name: str, file: Path) -> str:
    policy = KeyReleasePolicy(file.read_bytes())
    keys.create_rsa_key(name, size=2048, hardware_protected=True, exportable=True, release_policy=policy)
    if name not in [each.name for each in keys.list_properties_of_keys()]:
        raise SystemExit(f"{name} is not listed")
    return str(keys.get_key(name).id)


def release(keys: KeyClient, name: str, file: Path) -> str:
    try:
        keys.get_key(name)
    except HttpResponseError as refused:
        if refused.status_code == 403:
            return str(keys.release_key(name, file.read_text()).value)
        raise
    raise SystemExit("get was not refused")


if __name__ == "__main__":
    action, vault, name, file = sys.argv[1:]
    credential = DefaultAzureCredential() if action == "create" else ManagedIdentityCredential()
    with credential, KeyClient(vault, credential) as client:
        print({"create": create, "release": release}[action](client, name, Path(file)))
