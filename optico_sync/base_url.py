"""Which base URLs a credential may have. Delivery checks again, against the address that is really connected to."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from optico_sync import conf


def check_base_url(url: str) -> None:
    """Raise ``ValidationError``, with the cure, for an address that a key must not travel to."""
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValidationError(_("Only the address, please: no user name, password, “?” or “#”."))
    check_host(url)


def check_host(url: str) -> None:
    """The same for whom ``url`` leads to; what comes after the host is its owner's business."""
    parts = urlsplit(url)
    address = _address(parts.hostname or "")
    is_allowed = any(address in network for network in conf.options().ALLOWED_NETWORKS) if address else False
    if parts.scheme != "https" and not (parts.scheme == "http" and is_allowed):
        raise ValidationError(
            _(
                "The key would travel in the clear: use https://. For a test server inside your own network, write "
                "its IP address and ask your developer to name the network in OPTICO_SYNC['ALLOWED_NETWORKS']."
            )
        )
    if address and not address.is_global and not is_allowed:
        raise ValidationError(
            _(
                "This address is not public, so nothing would be sent to it. Correct it, or ask your developer to name "
                "its network in OPTICO_SYNC['ALLOWED_NETWORKS']."
            )
        )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that ``host`` is; None for a name."""
    if host == "localhost":
        return ipaddress.IPv4Address("127.0.0.1")
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
