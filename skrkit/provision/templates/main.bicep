// Steps 1 to 3 of Secure Key Release in one deployment: a confidential VM with an identity, a vault that lets this
// identity release keys and no more, and an exportable key whose policy asks for the attestation of such a VM.

@description('Region of everything.')
param location string = resourceGroup().location

@description('Name of the confidential VM.')
param vmName string = 'cvm-1'

@description('Name of the vault, unique in all of Azure.')
@minLength(3)
@maxLength(24)
param vaultName string

@description('Name of the key.')
param keyName string = 'release-me'

@description('Base URL of the attestation provider: the shared one of the region, or your own.')
param attestationUri string = 'https://sharedweu.weu.attest.azure.net'

@description('Object id of the person or service principal that prepares the keys.')
param operatorObjectId string

@description('A size with AMD SEV-SNP that the region has.')
param vmSize string = 'Standard_DC2as_v5'

@description('Name of the first user of the VM.')
param adminUsername string = 'azureuser'

@description('Public key that the first user signs in with, as in an authorized_keys file.')
param adminPublicKey string

@description('Whether the VM has a public address.')
param publicIp bool = false

@description('From where SSH is let in, such as 198.51.100.7/32. Nothing lets nobody in.')
param sshSource string = ''

@description('Whether the vault goes by Azure roles, and not by access policies: who deploys it may then assign roles.')
param rbac bool = false

@description('Resource id of a user-assigned identity that the VM has beside its own. Nothing is none.')
param userAssignedIdentityId string = ''

module network 'network.bicep' = {
  name: '${vmName}-network'
  params: {
    vmName: vmName
    location: location
    publicIp: publicIp
    sshSource: sshSource
  }
}

module vault 'vault.bicep' = {
  name: '${vmName}-vault'
  params: {
    vaultName: vaultName
    location: location
    operatorObjectId: operatorObjectId
    rbac: rbac
  }
}

module key 'key.bicep' = {
  name: '${vmName}-key'
  params: {
    vaultName: vaultName
    keyName: keyName
    attestationUri: attestationUri
  }
  dependsOn: [
    vault
  ]
}

module vm 'confidential-vm.bicep' = {
  name: '${vmName}-vm'
  params: {
    vmName: vmName
    location: location
    vmSize: vmSize
    interfaceId: network.outputs.interfaceId
    adminUsername: adminUsername
    adminPublicKey: adminPublicKey
    userAssignedIdentityId: userAssignedIdentityId
  }
}

module accessPolicy 'access-policy.bicep' = if (!rbac) {
  name: '${vmName}-access'
  params: {
    vaultName: vaultName
    objectId: vm.outputs.principalId
  }
  dependsOn: [
    vault
  ]
}

module releaseRole 'vault-role.bicep' = if (rbac) {
  name: '${vmName}-release-role'
  params: {
    vaultName: vaultName
    objectId: vm.outputs.principalId
  }
  dependsOn: [
    vault
  ]
}

// Key Vault Crypto Officer: who prepares the keys sees and makes them by this, as nobody does by being the owner.
module operatorRole 'vault-role.bicep' = if (rbac) {
  name: '${vmName}-operator-role'
  params: {
    vaultName: vaultName
    objectId: operatorObjectId
    roleId: '14b46e9e-c2b7-41b4-b07b-48a6ebf60603'
    principalType: ''
  }
  dependsOn: [
    vault
  ]
}

output vmName string = vmName
output principalId string = vm.outputs.principalId
output vaultName string = vaultName
output vaultUri string = vault.outputs.vaultUri
output keyName string = keyName
output keyUri string = key.outputs.keyUri
output attestationUri string = attestationUri
