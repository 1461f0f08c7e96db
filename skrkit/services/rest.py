"""One REST call over azure-core, for the services that have no SDK: IMDS, Azure Attestation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skrkit.errors import ServiceError

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.wire import Json

MAX_RESPONSE_BYTES = 4 << 20
TIMEOUT_S = 60
LINK_LOCAL_TIMEOUT_S = 3  # the same machine answers; elsewhere nobody does, and the SDK's own 300 s times 4 is no wait


class RestClient:
    """Sends requests into a cloud and keeps its connections. Retries, pacing and `Retry-After` are the SDK pipeline's.

    `link_local` is for IMDS, which answers on this machine or not at all: no proxy of the environment is asked, and the
    wait for a connection is short. Use as a context manager: the connections are closed at the end.
    """

    def __init__(self, cloud: Cloud, *, link_local: bool = False) -> None:
        from azure.core import PipelineClient
        from azure.core.pipeline.policies import ProxyPolicy, RequestIdPolicy, RetryPolicy, UserAgentPolicy

        wanted: dict[str, Any] = {"connection_timeout": TIMEOUT_S, "read_timeout": TIMEOUT_S, **cloud.settings}
        if link_local:
            wanted |= {"use_env_settings": False, "connection_timeout": LINK_LOCAL_TIMEOUT_S}
        options = cloud.client_options(**wanted)
        # PipelineClient's own list has no ProxyPolicy: without it a proxy option is dropped, and requests go astray.
        policies = [RequestIdPolicy(), UserAgentPolicy("skrkit"), RetryPolicy(**options), ProxyPolicy(**options)]
        self._client: PipelineClient[Any, Any] = PipelineClient("", policies=policies, **options)

    def __enter__(self) -> RestClient:
        self._client.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._client.close()

    def send(self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: Json = None) -> bytes:
        """Return the body of a successful answer. `body` is sent as JSON when given.

        Raises azure-core's `HttpResponseError` for any status above 299, and `ServiceError` for an answer too large.
        """
        from azure.core.exceptions import HttpResponseError
        from azure.core.rest import HttpRequest
        from azure.mgmt.core.exceptions import ARMErrorFormat

        content = None if body is None else json.dumps(body, separators=(",", ":"))
        sent_headers = dict(headers or {})
        if content is not None:
            sent_headers["Content-Type"] = "application/json"
        request = HttpRequest(method, url, headers=sent_headers, content=content)
        with self._client.send_request(request, stream=True) as response:
            if response.status_code > 299:
                response.read()
                raise HttpResponseError(response=response, error_format=ARMErrorFormat)
            received = bytearray()
            for part in response.iter_bytes():
                received += part
                if len(received) > MAX_RESPONSE_BYTES:
                    raise _too_large(f"{method} {url.split('?', maxsplit=1)[0]}", response.status_code)
        return bytes(received)


def send_request(
    cloud: Cloud,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: Json = None,
    link_local: bool = False,
) -> bytes:
    """Return the body of a successful answer to one request, on a connection of its own. See `RestClient`."""
    with RestClient(cloud, link_local=link_local) as client:
        return client.send(method, url, headers=headers, body=body)


def _too_large(where: str, status: int) -> ServiceError:
    return ServiceError(
        what="answer",
        where=where,
        expected=f"at most {MAX_RESPONSE_BYTES} bytes",
        found="more",
        fix="This is not the service it should be: check the proxy and the address.",
        status=status,
    )
