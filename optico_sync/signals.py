"""Signals for the shop's own code: where an order came to stand with a vendor.

Each is sent by the worker after that is recorded, outside any transaction and lock, with ``send_robust``: what a
receiver raises is logged by Django and disturbs nobody. A slow receiver keeps the deliveries of its credential waiting.

Arguments, besides ``sender`` (the class ``SyncState``):

- ``subject``: the ``Subject``, an order or cart: ``kind``, ``key`` (in the shop), ``reference``, ``status``;
- ``credential``: the ``VendorCredential``;
- ``sync_state``: the ``SyncState``: ``state``, ``accepted_status``, ``reason``, ``detail``.

A worker that dies between the record and the signal sends none: what must not be missed is read from ``SyncState``.
"""

from django.dispatch import Signal

#: It is in sync now: the vendor accepted the newest that the shop has.
delivered = Signal()
#: Somebody must act; ``sync_state.shown_reason`` says what to do.
refused = Signal()
#: It was left out on purpose; ``sync_state.shown_reason`` says why.
not_sent = Signal()
