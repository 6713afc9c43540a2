"""A twin of the vendors' servers, for tests and for a developer's machine.

    python -m optico_sync.sandbox --port 8001 --key cust_sandbox

plays ``POST /api/customer-order`` by Optico's published document, keeps what it hears in memory, shows it at
``/sandbox/`` and fails on demand (see ``faults``). It imports nothing of the rest of ``optico_sync``: two
independent readings of a vendor's document must agree, or a test between them means nothing.

Control API (JSON; bad input is answered 400 with the name of each field at fault):

=======================  =============================================================================
``GET  journal``         ``{"entries": [...], "last": SEQ, "forgotten": N}``; ``?after=SEQ&id=ORDER``
``GET  orders``          ``{"count": N, "orders": [...]}``
``GET  orders/<id>``     one order, or 404
``GET  summary``         totals of requests, orders, conversions, verdicts, connections, concurrency
``POST reset``           back to the state at start, configuration and faults included
``GET  config``          what is in force; keys are masked
``PUT  config``          any of ``{"keys": [...], "statuses": [{"name", "is_sale"}], "latency": 0.0}``
``POST faults``          any of ``{"orders": {id: [fault, ...]}, "all": fault, "probability": {...}}``
``GET  faults``          what is still waiting to go wrong
``DELETE faults``        clears them; so does ``POST faults/clear``
=======================  =============================================================================

All paths are under ``/sandbox/api/``. ``client.SandboxServer`` starts a server and speaks this API.
"""
