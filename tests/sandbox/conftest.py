from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from optico_sync.sandbox.client import SandboxServer

KEY = "cust_sandbox"

Send = Callable[..., requests.Response]


@pytest.fixture
def send(sandbox: SandboxServer) -> Iterator[Send]:
    """Sends an order over one kept-alive connection; a field given as None is left out."""
    with requests.Session() as session:
        session.trust_env = False

        def _send(**fields: Any) -> requests.Response:
            data = {"key": KEY, "id": "ORDER-1", "status": "pending", **fields}
            data = {name: value for name, value in data.items() if value is not None}
            return session.post(f"{sandbox.url}/api/customer-order", data=data, timeout=5, allow_redirects=False)

        yield _send
