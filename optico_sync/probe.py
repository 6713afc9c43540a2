"""Tests the connection of a credential: sends one request that records nothing."""

from __future__ import annotations

from django.utils import timezone

from optico_sync.exceptions import ConfigurationError, EncryptionKeyError, TransportError
from optico_sync.models import Installation, VendorCredential
from optico_sync.models.installation import OTHER_INSTALLATION
from optico_sync.transport import open_transport
from optico_sync.vendors.base import Finding


def probe(credential: VendorCredential) -> Finding:
    """What one harmless request to the vendor shows. Never raises for a bad account, address or answer.

    From a copy of the installation not even that is sent: the live key stays where it is.
    """
    if Installation.compare().is_another:
        return _bad(credential, OTHER_INSTALLATION)
    try:
        vendor, account = credential.spec, credential.account
    except ConfigurationError as error:
        return Finding(is_good=False, text=str(error))
    except EncryptionKeyError:
        return _bad(credential, "secret_unreadable")
    if vendor.missing_secrets(account):
        return _bad(credential, "incomplete_credential")
    transport = open_transport(vendor, 1)
    try:
        response = transport.send(vendor.probe(account=account))
    except TransportError as error:
        return _remember(credential, _bad(credential, error.reason))
    finally:
        transport.close()
    return _remember(credential, vendor.read_probe(response, account=account))


def _remember(credential: VendorCredential, finding: Finding) -> Finding:
    credential.probed_at, credential.probe_was_good = timezone.now(), finding.is_good
    credential.save(update_fields=["probed_at", "probe_was_good"])
    return finding


def _bad(credential: VendorCredential, reason: str) -> Finding:
    meaning = credential.explain(reason)
    return Finding(is_good=False, text=f"{meaning.text} {meaning.advice}")
