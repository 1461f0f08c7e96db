// What a VM needs of a network: a security group, a network with one subnet, an interface, and if wanted a public address.

@description('What the names of the resources begin with: the name of the VM.')
param vmName string

@description('Region of the network.')
param location string = resourceGroup().location

@description('Address space of the network.')
param addressPrefix string = '10.0.0.0/16'

@description('Addresses of the subnet in it.')
param subnetPrefix string = '10.0.0.0/24'

@description('Whether the VM has a public address.')
param publicIp bool = false

@description('From where SSH is let in, such as 198.51.100.7/32. Nothing lets nobody in.')
param sshSource string = ''

resource securityGroup 'Microsoft.Network/networkSecurityGroups@2024-05-01' = {
  name: '${vmName}-nsg'
  location: location
  tags: {
    skrkit: 'deploy'
  }
  properties: {
    securityRules: empty(sshSource) ? [] : [
      {
        name: 'ssh'
        properties: {
          priority: 1000
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: sshSource
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '22'
        }
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: '${vmName}-vnet'
  location: location
  tags: {
    skrkit: 'deploy'
  }
  properties: {
    addressSpace: {
      addressPrefixes: [
        addressPrefix
      ]
    }
    subnets: [
      {
        name: 'default'
        properties: {
          addressPrefix: subnetPrefix
          networkSecurityGroup: {
            id: securityGroup.id
          }
        }
      }
    ]
  }
}

resource address 'Microsoft.Network/publicIPAddresses@2024-05-01' = if (publicIp) {
  name: '${vmName}-ip'
  location: location
  tags: {
    skrkit: 'deploy'
  }
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIPAllocationMethod: 'Static'
  }
}

resource interface 'Microsoft.Network/networkInterfaces@2024-05-01' = {
  name: '${vmName}-nic'
  location: location
  tags: {
    skrkit: 'deploy'
  }
  properties: {
    enableAcceleratedNetworking: false
    ipConfigurations: [
      {
        name: 'main'
        properties: {
          privateIPAllocationMethod: 'Dynamic'
          subnet: {
            id: '${network.id}/subnets/default'
          }
          publicIPAddress: publicIp ? {
            id: address.id
          } : null
        }
      }
    ]
  }
}

output interfaceId string = interface.id
