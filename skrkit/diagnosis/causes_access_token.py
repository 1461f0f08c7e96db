"""Causes in the caller's own token, which says to Key Vault who asks."""

from skrkit.diagnosis import sources
from skrkit.diagnosis.cause import OFF, Cause, Leg

CAUSES = (
    Cause(
        id="access-token.challenge",
        leg=Leg.ACCESS_TOKEN,
        title="The first 401 is the challenge, and no failure",
        symptom="401 with WWW-Authenticate on the very first call, then success",
        why="The SDK asks once without a token, to learn from the challenge which tenant and resource to ask for.",
        fix="Nothing: count a failure only where the second answer is one.",
        source=sources.KEY_VAULT_AUTHENTICATION,
    ),
    Cause(
        id="access-token.missing",
        leg=Leg.ACCESS_TOKEN,
        title="The request carries no access token",
        symptom="401 AKV10000: Request is missing a Bearer or PoP token.",
        why="The client sent no Authorization header, or a proxy took it away.",
        fix="Send Authorization: Bearer with a token for https://vault.azure.net.",
        command="az account get-access-token --resource https://vault.azure.net",
        mend=OFF,
        source=sources.KEY_VAULT_ERRORS,
    ),
    Cause(
        id="access-token.wrong-audience",
        leg=Leg.ACCESS_TOKEN,
        title="The access token is for another resource",
        symptom="401 AKV10022: Invalid audience. Expected https://vault.azure.net, found: <aud>.",
        why="A token of ARM, of Azure Attestation or of a Managed HSM was sent to a vault or the other way round; "
        "https://vault.azure.net/ with a slash fails as well.",
        fix="Ask for the resource https://vault.azure.net, or https://managedhsm.azure.net for a Managed HSM, no "
        "slash.",
        command="az account get-access-token --resource https://vault.azure.net",
        mend=OFF,
        source=sources.KEY_VAULT_ERRORS,
    ),
    Cause(
        id="access-token.wrong-tenant",
        leg=Leg.ACCESS_TOKEN,
        title="The access token is of another tenant",
        symptom="401 AKV10032: Invalid issuer. Expected one of https://sts.windows.net/<tenant>/, found <other>.",
        why="The caller signed in to another tenant than the vault's, or the vault's subscription moved and the vault "
        "still names the old one.",
        fix="Sign in to the vault's tenant, or set the vault's tenantId to the tenant that it moved to.",
        command="az account get-access-token --resource https://vault.azure.net --tenant {tenant}",
        mend=OFF,
        source=sources.KEY_VAULT_ERRORS,
    ),
    Cause(
        id="access-token.expired",
        leg=Leg.ACCESS_TOKEN,
        title="The access token has expired",
        symptom="401 [TokenExpired] Error validating token: 'S2S12086'.; older: IDX10223",
        why="A token that the client kept was used after its exp.",
        fix="Ask for a new token, and look at the clock of the machine that kept it.",
        command="az account get-access-token --resource https://vault.azure.net",
        mend=OFF,
        source=sources.KEY_VAULT_ERRORS,
    ),
    Cause(
        id="access-token.unknown-key",
        leg=Leg.ACCESS_TOKEN,
        title="Key Vault does not know the key that signed the access token",
        symptom="401 AKV10046: Unable to resolve the key used for signature validation",
        why="Entra ID signs with a new key that the vault has not fetched yet; or the token was not made by Entra ID.",
        fix="Try again in a few minutes with a new token.",
        command="az account get-access-token --resource https://vault.azure.net",
        mend=OFF,
        source=sources.KEY_VAULT_ERRORS,
    ),
    Cause(
        id="access-token.hsm-empty-401",
        leg=Leg.ACCESS_TOKEN,
        title="The Managed HSM refuses the access token, and does not say why",
        symptom="401 with an empty body, or OK, from <hsm>.managedhsm.azure.net",
        why="A Managed HSM answers so to a missing token and to every one that it does not take: audience, tenant or "
        "time.",
        fix="Decode the access token: aud must be https://managedhsm.azure.net, iss of the HSM's tenant, exp not past.",
        command="az account get-access-token --resource https://managedhsm.azure.net",
        source=sources.HSM_ACCESS,
        inferred=True,
    ),
    Cause(
        id="access-token.challenge-domain",
        leg=Leg.ACCESS_TOKEN,
        title="The SDK does not take the challenge of this host",
        symptom="ValueError: The challenge resource '…' does not match the requested domain.",
        why="The challenge names a resource of another domain than the address: an emulator, or a name of one's own in "
        "front of the vault.",
        fix="Use the vault's own name; for an emulator pass verify_challenge_resource=False to the client.",
        source=sources.KEY_SDK,
    ),
)
