"""The three answers to "this is another installation": a copy for the sandbox, the real one, or one that stays off."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from optico_sync.base_url import check_base_url
from optico_sync.exceptions import ConfigurationError
from optico_sync.models import Installation, VendorCredential
from optico_sync.models.installation import facts_here, release
from optico_sync.vendors import get_vendor, vendor_paths

#: Where ``python -m optico_sync.sandbox`` answers unless told otherwise.
SANDBOX_URL = "http://127.0.0.1:8001"


def adopt() -> int:
    """This is the real one: remember it, and send what waited. Returns how many credentials go on."""
    using = Installation.using()
    here = facts_here(using)
    with transaction.atomic(using=using):
        Installation.record(here)
        return release(using)


def use_sandbox(url: str) -> list[str]:
    """This is a copy: forget every live key, make the sandbox at ``url`` every vendor, and send there.

    Returns the names of credentials that are off now, because their vendor has no sandbox. Raises ``ValidationError``
    for an address that nothing may be sent to, or that is a live vendor's own.
    """
    check_base_url(url)
    if (urlsplit(url).hostname or "") in _live_hosts():
        raise ValidationError(_("This is the vendor's own address: name the sandbox's."))
    using = Installation.using()
    here = facts_here(using)
    off = []
    with transaction.atomic(using=using):
        for credential in VendorCredential.objects.using(using).defer("sealed_secrets").select_for_update():
            was_enabled = credential.is_enabled
            credential.point_at_sandbox(url)
            credential.save()
            if was_enabled and not credential.is_enabled:
                off.append(credential.name)
        Installation.record(here)
    return off


def stay_off() -> None:
    """This is a copy that sends nothing: ask no more."""
    Installation.objects.using(Installation.using()).update(stays_off=True)


def _live_hosts() -> set[str]:
    hosts = set()
    for name in vendor_paths():
        try:
            hosts.add(urlsplit(get_vendor(name).default_base_url).hostname or "")
        except ConfigurationError:
            continue
    return hosts
