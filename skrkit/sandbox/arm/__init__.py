"""Azure Resource Manager of the sandbox: resource groups, vaults, keys, confidential VMs, long-running operations."""
