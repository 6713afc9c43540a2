"""A twin of the vendors' servers, for tests and for a developer's machine.

    python -m optico_sync.sandbox --port 8001 --key cust_sandbox

plays the APIs below by their vendors' published documents, keeps what it hears in memory, shows it at ``/sandbox/``
and fails on demand (see ``faults``). It imports nothing of the rest of ``optico_sync``: two
independent readings of a vendor's document must agree, or a test between them means nothing.

====================== ====================================================== =====================
Vendor                 Path                                                   Module
====================== ====================================================== =====================
``optico``             ``POST /api/customer-order``, in the Sales API's       ``optico``, ``cart``
                       dialect or the Cart API's
``cart``               ``POST /api/customer-cart``                            ``cart``
``ometria``            ``POST`` or ``GET /ometria/v2/orders/{id}``,           ``ometria``
                       ``GET /ometria/v2/orders?limit&offset``
``optimizely``         ``POST /tracker/smart-api/orders/offline``             ``optimizely``
``guaranteed_reviews`` ``POST /private/v3/orders``                            ``guaranteed_reviews``
====================== ====================================================== =====================

Each module says what its document leaves open and how the sandbox reads it. The journal masks keys, and of personal
data (e-mail addresses, names) keeps one letter; ``records`` has everything, for tests to compare.

Control API (JSON; bad input is answered 400 with the name of each field at fault):

=======================  =============================================================================
``GET  journal``         ``{"entries": [...], "last": SEQ, "forgotten": N}``; ``?after=SEQ&id=RECORD&vendor=NAME``
``GET  orders``          ``{"count": N, "orders": [...]}``
``GET  orders/<id>``     one order, or 404
``GET  records``         ``?vendor=NAME``: ``{"count": N, "records": [...]}``
``GET  records/V/<id>``  one record of vendor V, or 404
``GET  summary``         totals of requests, orders, conversions, verdicts, connections, concurrency
``POST reset``           back to the state at start, configuration and faults included
``GET  config``          what is in force; keys are masked
``PUT  config``          any of ``{"keys": [...], "statuses": [{"name", "is_sale"}], "latency": 0.0,
                         "visits": [...] or null, "ometria_keys": [...], "ometria_rate": 4,
                         "optimizely_tokens": {site: token}, "reviews_keys": [...]}``
``POST faults``          any of ``{"orders": {id: [fault, ...]}, "all": fault, "probability": {...}}``
``GET  faults``          what is still waiting to go wrong
``DELETE faults``        clears them; so does ``POST faults/clear``
=======================  =============================================================================

All paths are under ``/sandbox/api/``. ``client.SandboxServer`` starts a server and speaks this API.
"""
