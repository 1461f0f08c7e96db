// Gives one principal one Azure role in a vault that goes by roles: for all of its keys, and for what else is in it.
// The name follows from vault, principal and role, so that it can be deployed again. Who deploys it may assign roles.

@description('Name of the vault.')
param vaultName string

@description('Object id of the principal: of the VM it is the principalId.')
param objectId string

@description('Id of the role. The default is Key Vault Crypto Service Release User, which may release keys and no more.')
param roleId string = '08bbd89e-9f13-488c-ac41-acfcb10c90ab'

@description('ServicePrincipal for an identity that was made just now: Entra ID may not know it everywhere yet.')
@allowed([
  ''
  'ServicePrincipal'
  'User'
  'Group'
])
param principalType string = 'ServicePrincipal'

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' existing = {
  name: vaultName
}

resource assignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, objectId, roleId)
  properties: union({
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleId)
    principalId: objectId
  }, empty(principalType) ? {} : {
    principalType: principalType
  })
}
