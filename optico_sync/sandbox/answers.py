"""How an answer looks on the wire, whole or spoilt by a fault."""

import json
import time
from collections.abc import Callable, Iterator

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.encoding import iri_to_uri

from optico_sync.sandbox.faults import Fault

PAGE = "<!doctype html><html lang=en><title>{0}</title><h1>{0}</h1><p>{1}</p></html>"


class Dropped(HttpResponse):
    """The connection is to be closed without an answer.

    The sandbox's own server does so. Under any other server it is what a proxy says of such a connection: 502.
    """

    status_code = 502
    drop_connection = True


def envelope(error: str | None) -> HttpResponse:
    """The vendor's answer: 200 and a JSON envelope, whatever happened."""
    body = {"status": "success"} if error is None else {"status": "error", "message": error}
    return HttpResponse(json.dumps(body), content_type="application/json")


def spoilt(fault: Fault, answer: HttpResponse, *, leave: Callable[[], None]) -> HttpResponseBase:
    """What the client gets in place of `answer`.

    `leave` is called just before the client can know that it is done. Sleeps for the faults that take time.
    """
    if fault.kind == "drip":
        return _dripping(answer, interval=fault["interval"], leave=leave)
    if fault.kind in ("latency", "hang"):
        time.sleep(fault["seconds"])
    leave()
    return _spoilt(fault, answer)


def _spoilt(fault: Fault, answer: HttpResponse) -> HttpResponse:
    match fault.kind:
        case "drop_before" | "drop_after" | "hang":
            return Dropped()
        case "500":
            return _page(500, "Internal Server Error", "Something went wrong.")
        case "503":
            return _page(503, "Service Unavailable", "Back soon.")
        case "429":
            response = _page(429, "Too Many Requests", "Slow down.")
            response["Retry-After"] = str(fault["retry_after"])
            return response
        case "html200":
            return _page(200, "Maintenance", "The service is being worked on.")
        case "html403":
            return _page(403, "Forbidden", "Your request was blocked.")
        case "truncated":
            answer.content = answer.content[: len(answer.content) // 2]
            return answer
        case "redirect":
            return HttpResponse(status=fault["status"], headers={"Location": iri_to_uri(fault["url"]) or ""})
        case "reply":
            return HttpResponse(fault["body"], status=fault["status"], content_type=fault["content_type"])
    return answer


def _page(status: int, title: str, text: str) -> HttpResponse:
    return HttpResponse(PAGE.format(title, text), status=status, content_type="text/html; charset=utf-8")


def _dripping(answer: HttpResponse, *, interval: float, leave: Callable[[], None]) -> StreamingHttpResponse:
    body = answer.content

    def drops() -> Iterator[bytes]:
        try:
            for at in range(len(body) - 1):
                yield body[at : at + 1]
                time.sleep(interval)
        finally:
            leave()
        yield body[-1:]

    return StreamingHttpResponse(
        drops(), content_type=answer["Content-Type"], headers={"Content-Length": str(len(body))}
    )
