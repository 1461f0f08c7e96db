"""What Entra ID says of itself: instance discovery and OpenID configuration, with the members of recorded ones.

Source: the recordings of Azure's SDK for Python (September 2022), and OpenID Connect Discovery 1.0. What is said of
endpoints that the sandbox does not have (sign-in of users, logout, user info) stays said: clients read the whole.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

HOST = "login.microsoftonline.com"
ALIASES = (HOST, "login.windows.net", "login.microsoft.com", "sts.windows.net")
OTHER_CLOUDS = (
    ("login.partner.microsoftonline.cn", "login.chinacloudapi.cn"),
    ("login.microsoftonline.de",),
    ("login.microsoftonline.us", "login.usgovcloudapi.net"),
    ("login-us.microsoftonline.com",),
)
CLAIMS = (
    "sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name", "msgraph_host", "aud",
    "exp", "iat", "auth_time", "acr", "nonce", "preferred_username", "name", "tid", "ver", "at_hash", "c_hash", "email",
)  # fmt: skip


def instance_discovery(authorization_endpoint: str) -> dict[str, Any]:
    """Return which hosts stand for which cloud, and where the asked authority's OpenID configuration is."""
    path = urlsplit(authorization_endpoint).path
    tenant = path.strip("/").partition("/")[0] or "common"
    version = "v2.0/" if "/v2.0/" in path else ""
    own = {"preferred_network": HOST, "preferred_cache": "login.windows.net", "aliases": list(ALIASES)}
    others = [
        {"preferred_network": names[0], "preferred_cache": names[0], "aliases": list(names)} for names in OTHER_CLOUDS
    ]
    return {
        "tenant_discovery_endpoint": f"https://{HOST}/{tenant}/{version}.well-known/openid-configuration",
        "api-version": "1.1",
        "metadata": [own, *others],
    }


def openid_configuration(tenant: str, *, issuer: str, v2: bool) -> dict[str, Any]:
    """Return the OpenID configuration of a tenant, or of `common` or `organizations`."""
    base, version = f"https://{HOST}/{tenant}", "v2.0/" if v2 else ""
    return {
        "token_endpoint": f"{base}/oauth2/{version}token",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": f"{base}/discovery/{version}keys",
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": issuer,
        "request_uri_parameter_supported": False,
        "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
        "authorization_endpoint": f"{base}/oauth2/{version}authorize",
        "device_authorization_endpoint": f"{base}/oauth2/{version}devicecode",
        "http_logout_supported": True,
        "frontchannel_logout_supported": True,
        "end_session_endpoint": f"{base}/oauth2/{version}logout",
        "claims_supported": list(CLAIMS),
        "kerberos_endpoint": f"{base}/kerberos",
        "tenant_region_scope": "EU",
        "cloud_instance_name": "microsoftonline.com",
        "cloud_graph_host_name": "graph.windows.net",
        "msgraph_host": "graph.microsoft.com",
        "rbac_url": "https://pas.windows.net",
    }
