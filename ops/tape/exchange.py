"""The public HTTP API, as far as a tape needs it: plain requests that wait out limits and restarts.

Whatever is sent may be sent again, because every write carries its own id.
"""

import logging
import time
from typing import Any

import httpx
import msgspec

log = logging.getLogger(__name__)

PATIENCE_S = 60.0
TIMEOUT_S = 15.0
logging.getLogger("httpx").setLevel(logging.WARNING)  # It would tell of each request.

AGAIN = (429, 502, 503, 504)


class Problem(Exception):
    """A problem document: the exchange says no."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail


class Exchange:
    """One running exchange. `url` is its base address, `orders_url` the one that batches go to."""

    def __init__(self, url: str, orders_url: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._orders_url = (orders_url or url).rstrip("/")
        self._client = httpx.Client(timeout=TIMEOUT_S, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, *, key: str | None = None, **parameters: str | int) -> Any:
        """The JSON of a GET under /api/v1."""
        return self._ask("GET", self._url + "/api/v1" + path, key, None, parameters)

    def post(self, path: str, body: object, *, key: str | None = None) -> Any:
        """The JSON of a POST under /api/v1."""
        return self._ask("POST", self._url + "/api/v1" + path, key, body, {})

    def batch(self, items: list[dict[str, Any]], *, key: str) -> list[dict[str, Any]]:
        """Send a batch until every item has a final answer; one result an item, in order."""
        address, deadline = self._orders_url + "/api/v1/orders/batch", time.monotonic() + PATIENCE_S
        while True:
            results = self._ask("POST", address, key, {"orders": items}, {})["results"]
            if all(result["status"] not in AGAIN for result in results) or time.monotonic() > deadline:
                return results
            time.sleep(0.2)

    def _ask(
        self, method: str, address: str, key: str | None, body: object, parameters: dict[str, Any]
    ) -> Any:
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        content = None if body is None else msgspec.json.encode(body)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            wait_s = 0.5
            try:
                response = self._client.request(
                    method, address, headers=headers, content=content, params=parameters
                )
            except httpx.TransportError as error:
                if time.monotonic() > deadline:
                    raise Problem(0, "unreachable", f"{address}: {error}") from error
            else:
                if response.status_code < 400:
                    return msgspec.json.decode(response.content)
                if response.status_code not in AGAIN or time.monotonic() > deadline:
                    raise _problem(response)
                wait_s = float(response.headers.get("Retry-After", wait_s))
            time.sleep(wait_s)


def _problem(response: httpx.Response) -> Problem:
    try:
        document = msgspec.json.decode(response.content)
        errors = f" {document['errors']}" if document.get("errors") else ""
        return Problem(response.status_code, document["code"], f"{document['detail']}{errors}")
    except (msgspec.DecodeError, KeyError, TypeError):
        return Problem(response.status_code, "no_problem_document", response.text[:200])
