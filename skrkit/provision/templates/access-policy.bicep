// Lets one identity do one thing in a vault: release keys. What others may do there stays as it is.

@description('Name of the vault.')
param vaultName string

@description('Object id of the identity: the principalId of the VM.')
param objectId string

@description('What the identity may do with keys.')
param keyPermissions array = [
  'release'
]

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' existing = {
  name: vaultName
}

resource policy 'Microsoft.KeyVault/vaults/accessPolicies@2023-07-01' = {
  parent: vault
  name: 'add'
  properties: {
    accessPolicies: [
      {
        tenantId: subscription().tenantId
        objectId: objectId
        permissions: {
          keys: keyPermissions
        }
      }
    ]
  }
}
