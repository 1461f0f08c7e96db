"""Bad input at every host: Azure's own error or a clear one, never a traceback, and never a way around a check."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from skrkit.sandbox.endpoint import LOG_FILE, Endpoint
from tests.sandbox.running import ARM, IMDS, LOGIN, STAGE, Answer, group_url, operator_token, say, send, trusting

ARM_HOST = "management.azure.com"
VAULT = f"https://{STAGE.vault}.vault.azure.net"
HSM = "https://none.managedhsm.azure.net"
MAA = STAGE.attestation
GRAPH = "https://graph.microsoft.com"
GROUPS = "2021-04-01"
JSON: dict[str, Any] = {"Content_Type": "application/json"}


@pytest.fixture(autouse=True)
def _no_traceback(sandbox: Endpoint) -> Iterator[None]:
    """Whatever a client sends, the sandbox's log has no traceback of it, and the sandbox goes on."""
    log = sandbox.home / LOG_FILE
    before = len(log.read_text())
    yield
    assert send(sandbox, "GET", f"{LOGIN}/common/discovery/instance").status == 200
    assert "Traceback" not in log.read_text()[before:]


@pytest.fixture(scope="module")
def arm(sandbox: Endpoint) -> str:
    return operator_token(sandbox)


@pytest.fixture(scope="module")
def keys(sandbox: Endpoint) -> str:
    return operator_token(sandbox, "https://vault.azure.net")


def refusal(answer: Answer) -> tuple[int, str, str]:
    said = answer.json()["error"]
    return answer.status, said["code"], said["message"]


# ---- framing: what two readers of one stream could read in two ways


def tunnelled(endpoint: Endpoint, data: bytes, *, seconds: float = 1.0) -> list[tuple[int, Any]]:
    """Send bytes in a tunnel to Resource Manager, and return each answer: its status, and its body as JSON."""
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as outer:
        outer.sendall(f"CONNECT {ARM_HOST}:443 HTTP/1.1\r\n\r\n".encode())
        assert outer.recv(4096).startswith(b"HTTP/1.1 200")
        with trusting(endpoint).wrap_socket(outer, server_hostname=ARM_HOST) as inside:
            inside.settimeout(seconds)
            inside.sendall(data)
            said = bytearray()
            try:
                while part := inside.recv(65536):
                    said += part
            except TimeoutError:
                pass
    return list(answers(bytes(said)))


def answers(said: bytes) -> Iterator[tuple[int, Any]]:
    while said:
        head, _, rest = said.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields.get(b"content-length", b"0"))
        yield int(head.split(b" ")[1]), json.loads(rest[:length] or b"null")
        said = rest[length:]


def head(endpoint: Endpoint, token: str, name: str, *fields: str) -> str:
    path = f"/subscriptions/{endpoint.subscription}/resourceGroups/{name}?api-version={GROUPS}"
    lines = [f"PUT {path} HTTP/1.1", f"Host: {ARM_HOST}", f"Authorization: Bearer {token}", *fields]
    return "\r\n".join([*lines, "Content-Type: application/json", "", ""])


BODY = '{"location":"westeurope"}'
HIDDEN = f"GET /subscriptions?api-version={GROUPS} HTTP/1.1\r\nHost: {ARM_HOST}\r\n\r\n"
CHUNKED = f"{len(BODY):x}\r\n{BODY}\r\n0\r\n\r\n"
SMUGGLED = {
    "two-lengths": (("Content-Length: 25", "Content-Length: 25"), BODY),
    "two-lengths-that-differ": (("Content-Length: 25", f"Content-Length: {25 + len(HIDDEN)}"), BODY + HIDDEN),
    "a-list-of-lengths": (("Content-Length: 25, 25",), BODY),
    "a-length-with-a-sign": (("Content-Length: +25",), BODY),
    "a-negative-length": (("Content-Length: -1",), BODY),
    "a-hexadecimal-length": (("Content-Length: 0x19",), BODY),
    "a-length-beyond-64-bits": (("Content-Length: 99999999999999999999999",), BODY),
    "chunked-and-a-length": (("Transfer-Encoding: chunked", "Content-Length: 5"), "0\r\n\r\n" + HIDDEN),
    "a-length-and-chunked": (("Content-Length: 5", "Transfer-Encoding: chunked"), "0\r\n\r\n" + HIDDEN),
    "chunked-but-not-last": (("Transfer-Encoding: chunked, identity",), "0\r\n\r\n" + HIDDEN),
    "chunked-twice": (("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), CHUNKED + HIDDEN),
    "nearly-chunked": (("Transfer-Encoding: xchunked",), "0\r\n\r\n" + HIDDEN),
    "a-blank-before-the-colon": (("Transfer-Encoding : chunked",), "0\r\n\r\n" + HIDDEN),
    "a-chunk-of-no-size": (("Transfer-Encoding: chunked",), f"zz\r\n{BODY}\r\n0\r\n\r\n"),
    "a-chunk-beyond-64-bits": (("Transfer-Encoding: chunked",), f"ffffffffffffffffffff\r\n{BODY}\r\n0\r\n\r\n"),
    "chunks-ended-by-lf": (("Transfer-Encoding: chunked",), CHUNKED.replace("\r\n", "\n")),
    "a-folded-header": (("X-Note: a", " b", "Content-Length: 25"), BODY),
    "a-bare-cr-in-a-header": (("X-Note: a\rX-Other: b", "Content-Length: 25"), BODY),
    "nul-in-a-header": (("X-Note: a\0b", "Content-Length: 25"), BODY),
    "a-blank-in-a-name": (("X Note: a", "Content-Length: 25"), BODY),
    "a-header-without-a-colon": (("X-Note", "Content-Length: 25"), BODY),
    "a-header-without-a-name": ((": a", "Content-Length: 25"), BODY),
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_a_request_of_doubtful_length_is_refused_and_nothing_behind_it_is_served(
    sandbox: Endpoint, arm: str, name: str
) -> None:
    fields, rest = SMUGGLED[name]
    said = tunnelled(sandbox, (head(sandbox, arm, f"rg-{name}", *fields) + rest).encode())
    assert [status for status, _ in said] == [400]
    assert said[0][1]["error"]["message"].startswith("Invalid HTTP request received.")
    url = f"{group_url(sandbox, f'rg-{name}')}?api-version={GROUPS}"
    made = send(sandbox, "GET", url, Authorization=f"Bearer {arm}")
    assert refusal(made)[:2] == (404, "ResourceGroupNotFound")


def test_what_is_well_framed_is_served(sandbox: Endpoint, arm: str) -> None:
    """The control of the cases above: the same request as it should be, chunked and with a length, and one behind."""
    chunked = head(sandbox, arm, "rg-chunked", "Transfer-Encoding: chunked") + CHUNKED
    plain = head(sandbox, arm, "rg-plain", "Content-Length: 25") + BODY
    assert [status for status, _ in tunnelled(sandbox, (chunked + plain + HIDDEN).encode())] == [201, 201, 401]
    for name in ("rg-chunked", "rg-plain"):
        url = f"{group_url(sandbox, name)}?api-version={GROUPS}"
        assert send(sandbox, "DELETE", url, Authorization=f"Bearer {arm}").status == 202


def test_a_trailer_is_no_header(sandbox: Endpoint, arm: str) -> None:
    """An Authorization that comes after the body authorises nothing."""
    asked = head(sandbox, "none", "rg-trailer", "Transfer-Encoding: chunked")
    sent = asked + CHUNKED.removesuffix("\r\n") + f"Authorization: Bearer {arm}\r\n\r\n"
    assert [status for status, _ in tunnelled(sandbox, sent.encode())] == [401]
    without = sent.replace("Authorization: Bearer none\r\n", "")
    assert [status for status, _ in tunnelled(sandbox, without.encode())] == [401]


def test_two_tokens_are_none(sandbox: Endpoint, arm: str) -> None:
    sent = head(sandbox, arm, "rg-two-tokens", "Authorization: Bearer x", "Content-Length: 25") + BODY
    assert tunnelled(sandbox, sent.encode()) == [
        (400, {"error": {"code": "BadRequest", "message": "A request has one Authorization header."}})
    ]


def test_a_body_that_ends_early_changes_nothing(sandbox: Endpoint, arm: str) -> None:
    tunnelled(sandbox, (head(sandbox, arm, "rg-half", "Content-Length: 25") + BODY[:10]).encode(), seconds=0.2)
    url = f"{group_url(sandbox, 'rg-half')}?api-version={GROUPS}"
    assert send(sandbox, "GET", url, Authorization=f"Bearer {arm}").status == 404


# ---- targets


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3", "", "http/1.1"])
def test_another_version_of_http(sandbox: Endpoint, version: str) -> None:
    sent = f"GET /subscriptions?api-version={GROUPS} {version}".rstrip() + f"\r\nHost: {ARM_HOST}\r\n\r\n"
    assert [status for status, _ in tunnelled(sandbox, sent.encode())] == [400]


@pytest.mark.parametrize("target", ["/subscriptions\r\nX-Note: a", "/sub\rscriptions", "/sub\0scriptions", "/sub\nx"])
def test_a_line_break_in_the_target_ends_the_connection(sandbox: Endpoint, target: str) -> None:
    said = tunnelled(sandbox, f"GET {target} HTTP/1.1\r\nHost: {ARM_HOST}\r\n\r\n".encode())
    assert [status for status, _ in said] == [400]


PATHS = {
    "%00": "backslash, or something that is no printable character",
    "a%0d%0aX-Note:%20b": "backslash, or something that is no printable character",
    "a%5c..%5cb": "backslash, or something that is no printable character",
    "%ff%fe": "backslash, or something that is no printable character",
    "..": "'.' or '..' as a segment",
    "%2e%2e": "'.' or '..' as a segment",
    "%2e%2e%2f%2e%2e": "'.' or '..' as a segment",
    "a/./b": "'.' or '..' as a segment",
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "base", [f"{ARM}/subscriptions", f"{VAULT}/keys", f"{HSM}/keys", MAA, f"{GRAPH}/v1.0", f"{LOGIN}/common"]
)
def test_a_path_that_could_be_read_in_two_ways_is_refused(sandbox: Endpoint, base: str, path: str) -> None:
    status, code, message = refusal(send(sandbox, "GET", f"{base}/{path}?api-version=7.4"))
    assert (status, code) == (400, "BadRequest")
    assert PATHS[path] in message


def test_imds_refuses_such_paths_too(sandbox: Endpoint) -> None:
    port = sandbox.vm(STAGE.vm).proxy_port
    for path in ("instance/../identity/oauth2/token", "identity/%2e%2e/instance", "instance/%00"):
        answer = send(sandbox, "GET", f"{IMDS}/metadata/{path}?api-version=2021-12-13", Metadata="true", port=port)
        assert refusal(answer)[:2] == (400, "BadRequest")


def test_slashes_and_their_escapes_lead_to_the_same_check(sandbox: Endpoint, arm: str) -> None:
    """However a path is written: without a token 401, with a stranger's subscription 404, never another resource."""
    subscription = sandbox.subscription
    other = "00000000-0000-4000-8000-000000000000"
    once, escaped = "/SUBSCRIPTIONS/{}/resourcegroups/", "/subscriptions%2f{}%2FresourceGroups"
    for written in (once, escaped, "//subscriptions//{}//resourceGroups"):
        url = f"{ARM}{written}?api-version={GROUPS}"
        assert send(sandbox, "GET", url.format(subscription)).status == 401
        assert send(sandbox, "GET", url.format(subscription), Authorization=f"Bearer {arm}").status == 200
        strange = send(sandbox, "GET", url.format(other), Authorization=f"Bearer {arm}")
        assert refusal(strange)[:2] == (404, "SubscriptionNotFound")


@pytest.mark.parametrize("named", ["{}:8443", "user@{}", "login.microsoftonline.com@{}"])
def test_the_request_line_names_a_host_and_no_more(sandbox: Endpoint, named: str) -> None:
    target = f"https://{named.format(ARM_HOST)}/subscriptions?api-version={GROUPS}"
    (said,) = tunnelled(sandbox, f"GET {target} HTTP/1.1\r\nHost: {ARM_HOST}\r\n\r\n".encode())
    assert said[0] == 400
    assert said[1]["error"]["code"] == "InvalidHostHeader"


def test_the_control_host_is_not_reached_by_a_path(sandbox: Endpoint) -> None:
    fields = f"Host: 169.254.169.254\r\nMetadata: true\r\nX-Skrkit-Secret: {sandbox.secret}\r\n\r\n"
    said = say(sandbox.port, f"GET //sandbox.skrkit/status HTTP/1.1\r\n{fields}".encode())
    assert said.startswith(b"HTTP/1.1 404"), said[:200]
    assert b"does not have GET //sandbox.skrkit/status" in said


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PROPFIND", "PUT"])
@pytest.mark.parametrize("url", [f"{LOGIN}/nothing", f"{MAA}/nothing", "https://kdsintf.amd.com/nothing"])
def test_a_route_that_is_not_there_is_said_in_azures_shape(sandbox: Endpoint, url: str, method: str) -> None:
    status, code, message = refusal(send(sandbox, method, url))
    assert status in (404, 405, 501)
    assert code in ("NotFound", "ResourceNotFound", "MethodNotAllowed", "NotInSandbox")
    assert "/nothing" in message or message == "The resource was not found."


# ---- bodies


BODIES: dict[str, bytes] = {
    "cut": b'{"location":',
    "text": b"location=westeurope",
    "list": b"[]",
    "number": b"1",
    "two": b"{}{}",
    "not-utf-8": b'{"location":"\xff\xfe"}',
    "half-of-a-pair": b'{"location":"westeurope","tags":{"a":"\\ud800"}}',
    "half-of-a-pair-in-a-name": b'{"location":"westeurope","tags":{"\\udfff":"a"}}',
    "nan": b'{"location":"westeurope","tags":{"a":NaN}}',
    "infinite": b'{"location":"westeurope","properties":{"a":1e999}}',
    "deep": b'{"location":"westeurope","a":' + b"[" * 900 + b"]" * 900 + b"}",
    "very-deep": b"[" * 200_000,
    "a-long-number": b'{"location":"westeurope","a":' + b"9" * 100_000 + b"}",
}


@pytest.mark.parametrize("body", BODIES)
def test_resource_manager_says_what_is_wrong_with_a_body(sandbox: Endpoint, arm: str, body: str) -> None:
    url = f"{group_url(sandbox, 'rg-bad-body')}?api-version={GROUPS}"
    status, code, message = refusal(send(sandbox, "PUT", url, BODIES[body], Authorization=f"Bearer {arm}", **JSON))
    assert (status, code) == (400, "InvalidRequestContent")
    assert len(message) < 400
    assert send(sandbox, "GET", url, Authorization=f"Bearer {arm}").status == 404


@pytest.mark.parametrize("body", BODIES)
def test_a_vault_says_what_is_wrong_with_a_body(sandbox: Endpoint, keys: str, body: str) -> None:
    url = f"{VAULT}/keys/bad-body/create?api-version=7.4"
    status, code, _ = refusal(send(sandbox, "POST", url, BODIES[body], Authorization=f"Bearer {keys}", **JSON))
    assert (status, code) == (400, "BadParameter")


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("kind", ["AzureGuest", "SevSnpVm"])
def test_attestation_says_what_is_wrong_with_a_body(sandbox: Endpoint, kind: str, body: str) -> None:
    answer = send(sandbox, "POST", f"{MAA}/attest/{kind}?api-version=2020-10-01", BODIES[body], **JSON)
    assert refusal(answer)[:2] == (400, "InvalidParameter")


def test_a_nested_text_is_read_with_the_same_care(sandbox: Endpoint) -> None:
    """Guest attestation carries JSON in base64: what is wrong inside is no fault of the sandbox either."""
    for inner in BODIES.values():
        info = base64.urlsafe_b64encode(inner).decode()
        body = json.dumps({"AttestationInfo": info}).encode()
        answer = send(sandbox, "POST", f"{MAA}/attest/AzureGuest?api-version=2020-10-01", body, **JSON)
        assert answer.status == 400
    policy = {"contentType": "application/json; charset=utf-8"}
    token = operator_token(sandbox, "https://vault.azure.net")
    for inner in BODIES.values():
        data = base64.urlsafe_b64encode(inner).decode().rstrip("=")
        body = json.dumps(
            {"kty": "RSA-HSM", "attributes": {"exportable": True}, "release_policy": {**policy, "data": data}}
        ).encode()
        url = f"{VAULT}/keys/bad-policy/create?api-version=7.4"
        answer = send(sandbox, "POST", url, body, Authorization=f"Bearer {token}", **JSON)
        assert answer.status in (400, 413), answer.body[:200]


@pytest.mark.parametrize(("size", "host"), [(2 << 20, "arm"), (1 << 19, "vault"), (8 << 20, "maa"), (2 << 20, "entra")])
def test_a_body_that_is_too_large_is_refused_before_it_is_read(
    sandbox: Endpoint, arm: str, keys: str, size: int, host: str
) -> None:
    body = b'{"a":"' + b"x" * size + b'"}'
    urls = {
        "arm": ("PUT", f"{group_url(sandbox, 'rg-large')}?api-version={GROUPS}", arm),
        "vault": ("POST", f"{VAULT}/keys/large/create?api-version=7.4", keys),
        "maa": ("POST", f"{MAA}/attest/AzureGuest?api-version=2020-10-01", ""),
        "entra": ("POST", f"{LOGIN}/{sandbox.tenant}/oauth2/v2.0/token", ""),
    }
    method, url, token = urls[host]
    try:
        answer = send(sandbox, method, url, body, Authorization=f"Bearer {token}", **JSON)
    except (BrokenPipeError, ConnectionResetError):  # it was refused while the client still wrote
        return
    assert refusal(answer)[:2] == (413, "RequestEntityTooLarge")


@pytest.mark.parametrize(
    ("given", "said"), [("text/plain", "text/plain"), ("text/json; charset=utf-8", ""), (None, "<null>")]
)
def test_a_body_that_is_not_said_to_be_json(
    sandbox: Endpoint, arm: str, keys: str, given: str | None, said: str
) -> None:
    url = f"{group_url(sandbox, 'rg-type')}?api-version={GROUPS}"
    headers: dict[str, Any] = {"Authorization": f"Bearer {arm}"} | ({"Content_Type": given} if given else {})
    answer = refusal(send(sandbox, "PUT", url, BODY.encode(), **headers))
    words = f"The content media type '{said or given}' is not supported. Only 'application/json' is supported."
    assert answer == (415, "UnsupportedMediaType", words)
    attested = send(sandbox, "POST", f"{MAA}/attest/SevSnpVm?api-version=2022-08-01", b"{}", Content_Type="text/plain")
    assert refusal(attested)[:2] == (415, "UnsupportedMediaType")
    vault: dict[str, Any] = {"Authorization": f"Bearer {keys}"} | ({"Content_Type": given} if given else {})
    made = send(sandbox, "POST", f"{VAULT}/keys/type/create?api-version=7.4", b'{"kty":"RSA"}', **vault)
    assert refusal(made)[:2] == (415, "UnsupportedMediaType")


def test_what_a_body_says_does_not_end_up_as_a_header(sandbox: Endpoint, arm: str) -> None:
    for location in ("west\r\nX-Note: a", "west\u0100", "west europe/..", "\u00e9"):
        body = {"location": location}
        url = f"{group_url(sandbox, 'rg-split')}?api-version={GROUPS}"
        answer = send(sandbox, "PUT", url, body, Authorization=f"Bearer {arm}")
        assert refusal(answer)[:2] == (400, "LocationNotAvailableForResourceGroup")
        assert "X-Note" not in answer.headers


# ---- versions and tokens


@pytest.mark.parametrize("version", ["", "7", "latest", "2021-13-45x", "%0d%0a", "9" * 5000])
def test_an_unknown_api_version(sandbox: Endpoint, arm: str, keys: str, version: str) -> None:
    groups = send(sandbox, "GET", f"{group_url(sandbox)}?api-version={version}", Authorization=f"Bearer {arm}")
    wanted = "InvalidApiVersionParameter" if version else "MissingApiVersionParameter"
    assert refusal(groups)[:2] == (400, wanted)
    listed = send(sandbox, "GET", f"{VAULT}/keys?api-version={version}", Authorization=f"Bearer {keys}")
    assert refusal(listed)[:2] == (400, "BadParameter")
    port = sandbox.vm(STAGE.vm).proxy_port
    instance = send(sandbox, "GET", f"{IMDS}/metadata/instance?api-version={version}", Metadata="true", port=port)
    assert (instance.status, instance.json()["error"][:11]) == (400, "Bad request")


def _forged(sandbox: Endpoint, genuine: str, name: str) -> str:
    """A token of that kind which is not to be taken; `genuine` is one that is."""
    claims = jwt.decode(genuine, options={"verify_signature": False})
    kid = jwt.get_unverified_header(genuine)["kid"]
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    now = int(time.time())
    signed = {
        "foreign-key": jwt.encode(claims, stranger, "RS256", {"kid": kid}),
        "another-kid": jwt.encode(claims, stranger, "RS256", {"kid": "x"}),
        "expired": jwt.encode({**claims, "exp": now - 10, "nbf": now - 20}, stranger, "RS256", {"kid": kid}),
        "no-algorithm": jwt.encode(claims, "", "none", {"kid": kid}),
        "symmetric": jwt.encode(claims, b"k" * 64, "HS256", {"kid": kid}),
    }
    if name in signed:
        return signed[name]
    first, payload, signature = genuine.split(".")
    deep = base64.urlsafe_b64encode(b"[" * 20_000).decode().rstrip("=")
    other = base64.urlsafe_b64encode(json.dumps({**claims, "oid": "0" * 36}).encode()).decode().rstrip("=")
    return {
        "changed": f"{first}.{other}.{signature}",
        "cut": genuine[:-20],
        "no-signature": f"{first}.{payload}.",
        "deep": f"{deep}.{payload}.{signature}",
        "two-parts": f"{first}.{payload}",
        "empty": "",
        "nonsense": "x",
        "of-another-service": operator_token(sandbox, "https://storage.azure.com"),
    }[name]


FORGED = (
    "foreign-key", "another-kid", "expired", "no-algorithm", "symmetric", "changed", "cut", "no-signature", "deep",
    "two-parts", "empty", "nonsense", "of-another-service",
)  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_a_token_that_is_not_to_be_taken_is_401_everywhere(sandbox: Endpoint, arm: str, keys: str, name: str) -> None:
    for url, genuine in (
        (f"{group_url(sandbox)}?api-version={GROUPS}", arm),
        (f"{VAULT}/keys?api-version=7.4", keys),
        (f"{GRAPH}/v1.0/servicePrincipals", operator_token(sandbox, GRAPH)),
    ):
        assert send(sandbox, "GET", url, Authorization=f"Bearer {genuine}").status == 200
        answer = send(sandbox, "GET", url, Authorization=f"Bearer {_forged(sandbox, genuine, name)}")
        assert answer.status == 401, url
        assert b"oid" not in answer.body


def test_a_token_is_asked_for_before_anything_is_said_of_what_is_there(sandbox: Endpoint) -> None:
    groups = (f"{group_url(sandbox, name)}?api-version={GROUPS}" for name in (STAGE.resource_group, "none"))
    for url in (*groups, f"{VAULT}/keys/none?api-version=x"):
        assert send(sandbox, "GET", url).status == 401


FORMS = (b"grant_type=%ff", b"&" * 5000, b"grant_type=client_credentials&client_id=%00", b"\xff", b"{}")


@pytest.mark.parametrize("form", FORMS)
def test_a_form_that_is_none_gets_entras_own_error(sandbox: Endpoint, form: bytes) -> None:
    answer = send(sandbox, "POST", f"{LOGIN}/{sandbox.tenant}/oauth2/v2.0/token", form)
    assert answer.status in (400, 401)
    assert answer.json()["error_description"].startswith("AADSTS")
