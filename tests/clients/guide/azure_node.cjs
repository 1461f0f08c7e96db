// Steps 3 and 4 of the guide by Azure's SDK for JavaScript.
//   node azure_node.cjs create VAULT NAME POLICY_FILE     outside, as the operator: prints the key's id
//   node azure_node.cjs release VAULT NAME TOKEN_FILE     inside the VM: prints the signed answer of the vault
const { createRequire } = require("node:module");
const { readFileSync } = require("node:fs");
const client = createRequire(process.env.SKRKIT_NODE_CLIENTS + "/");
const { DefaultAzureCredential, ManagedIdentityCredential } = client("@azure/identity");
const { KeyClient } = client("@azure/keyvault-keys");

const [, , action, vault, name, file] = process.argv;

async function create() {
  const keys = new KeyClient(vault, new DefaultAzureCredential());
  const made = await keys.createRsaKey(name, {
    hsm: true, keySize: 2048, exportable: true, keyOps: ["encrypt", "decrypt", "wrapKey", "unwrapKey"],
    releasePolicy: { encodedPolicy: readFileSync(file), contentType: "application/json; charset=utf-8" },
  });
  const listed = [];
  for await (const each of keys.listPropertiesOfKeys()) listed.push(each.name);
  if (!listed.includes(name)) throw new Error(`${name} is not among ${listed}`);
  return (await keys.getKey(name)).id;
}

async function release() {
  const keys = new KeyClient(vault, new ManagedIdentityCredential());
  const refused = await keys.getKey(name).then(() => null, (error) => error);
  if (refused?.statusCode !== 403) throw new Error(`get was not refused: ${refused}`);
  return (await keys.releaseKey(name, readFileSync(file, "utf8"))).value;
}

({ create, release })[action]().then((said) => console.log(said));
