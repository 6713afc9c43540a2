"""What can go wrong on demand, and when.

A fault is written as its kind, or as an object that sets its particulars::

    "500"                                       {"kind": "latency", "seconds": 0.2}

=============  ========================================  =======  ==============================================
Kind           Particulars (default)                     Stored   What the client sees
=============  ========================================  =======  ==============================================
``ok``                                                   yes      the ordinary answer
``latency``    ``seconds`` (1)                           yes      the ordinary answer, late
``500``                                                  no       500, an HTML page
``503``                                                  no       503, an HTML page
``429``        ``retry_after`` (1; number or text)       no       429 with Retry-After
``drop_before``                                          no       the connection closed without an answer
``drop_after``                                           yes      the connection closed without an answer
``html200``                                              no       200 with an HTML page
``html403``                                              no       403 with an HTML page
``truncated``                                            yes      half the JSON, under a Content-Length that fits
``drip``       ``interval`` (0.05 seconds)               yes      the ordinary answer, a byte at a time
``redirect``   ``status`` (302), ``url`` (/sandbox/)     no       a redirection
``reply``      ``status`` (200), ``content_type``        as told  whatever was asked for
               (application/json), ``body`` (empty),
               ``stored`` (false)
``hang``       ``seconds`` (30)                          no       nothing, then the connection closed
=============  ========================================  =======  ==============================================

"Stored" means the request is judged as usual, and stored if it is right; otherwise it is not even looked at.

Three ways to ask, the first that has something to say wins:

- a script for one record id (of an order or a cart, whichever vendor's), a list of faults of which each request
  for that id uses up one;
- ``all``: one fault for every request until it is cleared;
- ``probability``: ``{"probability": 0.1, "faults": [...], "seed": 7}``, drawn in order of arrival.
"""

import random
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

DEFAULTS: dict[str, dict[str, Any]] = {
    "ok": {},
    "latency": {"seconds": 1.0},
    "500": {},
    "503": {},
    "429": {"retry_after": "1"},
    "drop_before": {},
    "drop_after": {},
    "html200": {},
    "html403": {},
    "truncated": {},
    "drip": {"interval": 0.05},
    "redirect": {"status": 302, "url": "/sandbox/"},
    "reply": {"status": 200, "content_type": "application/json", "body": "", "stored": False},
    "hang": {"seconds": 30.0},
}
JUDGED = frozenset({"ok", "latency", "drop_after", "truncated", "drip"})


@dataclass(frozen=True, kw_only=True)
class Fault:
    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values[name] if name in self.values else DEFAULTS[self.kind][name]

    @property
    def judged(self) -> bool:
        """Whether the request is judged, and stored if right, before it goes wrong."""
        return bool(self["stored"]) if self.kind == "reply" else self.kind in JUDGED

    def as_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **DEFAULTS[self.kind], **self.values}


OK = Fault(kind="ok")


class FaultBook:
    """Decides, request by request, what goes wrong."""

    def __init__(self, seed: int | None = None) -> None:
        self._lock = threading.Lock()
        self._seed = seed
        self.clear()

    def clear(self) -> None:
        with self._lock:
            self._scripts: dict[str, deque[Fault]] = {}
            self._all: Fault | None = None
            self._draw: list[Fault] = []
            self._probability = 0.0
            self._random = random.Random(self._seed)  # noqa: S311 - repeatable on purpose

    def script(self, order_id: str, faults: Iterable[Fault]) -> None:
        """Replace what is planned for one order."""
        with self._lock:
            self._scripts[order_id] = deque(faults)

    def every(self, fault: Fault | None) -> None:
        with self._lock:
            self._all = fault

    def sometimes(self, probability: float, faults: Iterable[Fault], *, seed: int | None = None) -> None:
        with self._lock:
            self._probability = probability
            self._draw = list(faults)
            self._random = random.Random(self._seed if seed is None else seed)  # noqa: S311 - repeatable on purpose

    def pick(self, *record_ids: str) -> Fault:
        """The fault for the request that has just arrived, or `OK`. The first of its records with a script counts."""
        with self._lock:
            for record_id in record_ids:
                script = self._scripts.get(record_id)
                if script:
                    fault = script.popleft()
                    if not script:
                        del self._scripts[record_id]
                    return fault
            if self._all is not None:
                return self._all
            if self._draw and self._random.random() < self._probability:
                return self._random.choice(self._draw)
            return OK

    def as_dict(self) -> dict[str, Any]:
        with self._lock:
            return {
                "orders": {
                    order_id: [fault.as_dict() for fault in script] for order_id, script in self._scripts.items()
                },
                "all": self._all.as_dict() if self._all else None,
                "probability": {
                    "probability": self._probability,
                    "faults": [fault.as_dict() for fault in self._draw],
                }
                if self._draw
                else None,
            }
