"""What can go wrong, as a tree.

::

    OpticoSyncError
    |-- ConfigurationError     a setting is wrong; the message names it and the cure
    |-- InvalidAttribution     a visit, call or agent that cannot be one; the message says what one looks like
    |-- EncryptionKeyError     a stored secret cannot be read with the keys in settings
    |-- Unreadable             the shop adapter could not read one order or cart
    `-- TransportError         no answer came from the vendor
        |-- NotConnected       nothing was sent: name, connection or TLS failed
        |-- ForbiddenAddress   nothing was sent: the address is not allowed
        `-- NoAnswer           sent, perhaps in part: the vendor may or may not have it

Messages never hold secrets or personal data: they reach logs and the admin.
"""


class OpticoSyncError(Exception):
    """Something in optico_sync failed."""


class ConfigurationError(OpticoSyncError):
    """A setting is wrong."""


class InvalidAttribution(OpticoSyncError, ValueError):
    """What was given for ``field`` cannot be a visit, call or agent."""

    def __init__(self, field: str, cure: str) -> None:
        super().__init__(f"{field} {cure}")
        self.field = field
        self.cure = cure


class EncryptionKeyError(OpticoSyncError):
    """A stored secret cannot be read with the keys in ``OPTICO_SYNC["ENCRYPTION_KEYS"]``."""


class Unreadable(OpticoSyncError):
    """The shop adapter could not read this order or cart."""


class TransportError(OpticoSyncError):
    """No answer came from the vendor."""

    reason = "connection"
    #: The request may still arrive, or may have been processed although its answer was lost.
    ambiguous = False


class NotConnected(TransportError):
    """Could not connect to the vendor."""


class ForbiddenAddress(TransportError):
    """The vendor's address is not one this shop may send to."""

    reason = "forbidden_address"


class NoAnswer(TransportError):
    """The vendor did not answer."""

    ambiguous = True

    def __init__(self, message: str, *, timed_out: bool) -> None:
        super().__init__(message)
        self.reason = "timeout" if timed_out else "dropped"
