"""What the sandbox, which read the vendors' documents for itself, says about a request that was built; no socket."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from rest_framework.request import Request as Received
from rest_framework.test import APIRequestFactory

from optico_sync.sandbox.ledger import Config, Ledger
from optico_sync.sandbox.twins import Message, Twin
from optico_sync.vendors.base import Request


def verdict(twin: Twin, request: Request, *, config: Config, has_record_in_path: bool = False) -> tuple[str, list[str]]:
    """Whether ``twin``, set up like ``config``, stores ``request`` ("stored"), and what it remarks."""
    ledger = Ledger()
    ledger.start_with(config)
    path = urlsplit(request.url).path
    content_type = request.headers["Content-Type"]
    arrived = APIRequestFactory().generic(
        request.method, path, request.body, content_type=content_type, headers=dict(request.headers)
    )
    record_id = unquote(path.rpartition("/")[2]) if has_record_in_path else ""
    call = twin.parse(Message(Received(arrived, parsers=[parser() for parser in twin.parsers]), record_id))
    outcome = twin.judge(call, ledger, seq=1)
    return outcome.verdict, [*call.remarks, *outcome.remarks]
