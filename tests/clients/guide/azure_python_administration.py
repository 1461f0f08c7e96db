"""Local roles of a Managed HSM by Azure's SDK for Python: the release role of one key, for one identity.

python azure_python_administration.py HSM KEY OBJECT_ID     prints how many assignments the identity has there
"""

import sys

from azure.identity import DefaultAzureCredential
from azure.keyvault.administration import KeyVaultAccessControlClient

RELEASE = "Managed HSM Crypto Service Release User"

if __name__ == "__main__":
    hsm, key, object_id = sys.argv[1:]
    scope = f"/keys/{key}"
    with DefaultAzureCredential() as credential, KeyVaultAccessControlClient(hsm, credential) as access:
        (role,) = [each for each in access.list_role_definitions("/") if each.role_name == RELEASE]
        made = access.create_role_assignment(scope, str(role.id), object_id)
        if access.get_role_assignment(scope, str(made.name)).role_assignment_id != made.role_assignment_id:
            raise SystemExit("another assignment")
        found = [each.properties for each in access.list_role_assignments(scope)]
        print(len([each for each in found if each is not None and each.principal_id == object_id]))
