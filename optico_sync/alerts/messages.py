"""Messages about alerts: written first, sent afterwards, so that one that fails is seen and tried again.

A webhook verifies ``X-Optico-Signature``: ``sha256=`` and the HMAC-SHA256, in hexadecimal, of the text
``<X-Optico-Timestamp>.<body>`` under the secret; and that the time stamp, in seconds since 1970, is not old.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Sequence
from datetime import datetime

from django.conf import settings as project
from django.core.mail import EmailMessage
from django.db import router
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from optico_sync import conf
from optico_sync.exceptions import EncryptionKeyError, TransportError
from optico_sync.models import AlertSettings, Notice
from optico_sync.transport import open_to
from optico_sync.vendors.base import Request, Timeout

logger = logging.getLogger(__name__)

#: Messages sent in one go; more wait for the next.
_AT_ONCE = 20
_TIMEOUT = Timeout(connect=5.0, total=10.0)


def write(settings: AlertSettings, entries: Sequence[dict[str, str]], now: datetime) -> list[Notice]:
    """One message about all ``entries`` for each channel."""
    first = _line(entries[0])
    more = len(entries) - 1
    title = ngettext("%(first)s, and %(count)d more", "%(first)s, and %(count)d more", more) if more else "%(first)s"
    shop = _shop()
    message = {
        "shop": shop,
        "subject": " ".join(f"[{shop}] {title % {'first': first, 'count': more}}".split()),
        "text": "\n\n".join(f"{_line(entry)}\n{entry['text']}" for entry in entries),
        "alerts": list(entries),
    }
    using = router.db_for_write(Notice)
    return [
        Notice.objects.using(using).create(channel=channel, message=message, created_at=now, due_at=now)
        for channel in settings.channels
    ]


def _line(entry: dict[str, str]) -> str:
    """What an entry is about, in one line."""
    title = entry["title"] + (f" (“{entry['about']}”)" if entry["about"] else "")
    if entry["event"] == "reminder":
        return _("Still: %(title)s") % {"title": title}
    return _("Over: %(title)s") % {"title": title} if entry["event"] == "recovered" else title


def _shop() -> str:
    """Whose alert it is, for somebody who looks after several shops."""
    hosts = [host for host in project.ALLOWED_HOSTS if host != "*"]
    return conf.options().INSTALLATION or (hosts[0] if hosts else "Optico sync")


def send_due(settings: AlertSettings, now: datetime) -> None:
    due = Notice.objects.using(router.db_for_write(Notice)).filter(due_at__lte=now, channel__in=settings.channels)
    for notice in due.order_by("pk")[:_AT_ONCE]:
        send(settings, notice, now)


def send(settings: AlertSettings, notice: Notice, now: datetime) -> None:
    """Send ``notice`` unless somebody else is at it, and record what came of it. A failure is not raised."""
    if not notice.take(now):
        return
    try:
        _CHANNELS[notice.channel](settings, notice, now)
    except Exception as error:
        # A mail server's error can name the recipients, so only its type is kept.
        is_ours = isinstance(error, TransportError | EncryptionKeyError | _NotTaken)
        notice.fail(str(error) if is_ours else type(error).__name__, now)
        logger.warning("An alert could not be sent by %s (%s).", notice.channel, type(error).__name__)
    else:
        notice.succeed(now)


class _NotTaken(Exception):
    """The webhook answered something else than success."""


def _mail(settings: AlertSettings, notice: Notice, now: datetime) -> None:
    message = notice.message
    EmailMessage(subject=message["subject"], body=message["text"], to=settings.addresses).send()


def _post(settings: AlertSettings, notice: Notice, now: datetime) -> None:
    body = json.dumps({"id": notice.pk, **notice.message}).encode()
    timestamp = str(int(now.timestamp()))
    headers = {
        "Content-Type": "application/json",
        "X-Optico-Timestamp": timestamp,
        "X-Optico-Signature": f"sha256={sign(body, timestamp=timestamp, secret=settings.webhook_secret)}",
    }
    transport = open_to(_TIMEOUT, 1)
    try:
        response = transport.send(
            Request(url=settings.webhook_url, body=body, headers=headers, shown="", fingerprint="")
        )
    finally:
        transport.close()
    if not 200 <= response.status < 300:
        raise _NotTaken(f"HTTP {response.status}")


def sign(body: bytes, *, timestamp: str, secret: str) -> str:
    """The HMAC-SHA256 of ``<timestamp>.<body>``, in hexadecimal."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


_CHANNELS = {Notice.Channel.MAIL.value: _mail, Notice.Channel.WEBHOOK.value: _post}
