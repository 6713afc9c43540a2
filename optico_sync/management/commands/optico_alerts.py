"""``manage.py optico_alerts``: looks for trouble and tells somebody. From cron, since a silent worker cannot say so."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from optico_sync.alerts import open_alerts, send_test, watch
from optico_sync.models import Notice


class Command(BaseCommand):
    help = "Look for trouble, send the messages that are due, and name what is wrong. Exits 1 while something is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--test", action="store_true", help="send a test message to every address")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["test"]:
            self._test(send_test())
            return
        watch(is_forced=True)
        found = open_alerts()
        for alert in found:
            about = f" ({alert.about})" if alert.about else ""
            self.stdout.write(f"{timezone.localtime(alert.since):%Y-%m-%d %H:%M} {alert}{about}")
        unsent = Notice.objects.filter(sent_at__isnull=True).exclude(error="").order_by("-pk").first()
        if unsent:
            self.stdout.write(f"A message by {unsent.channel} could not be sent: {unsent.error}")
        if found or unsent:
            raise CommandError(f"Open alerts: {len(found)}.")
        self.stdout.write("Nothing to report.")

    def _test(self, notices: list[Notice]) -> None:
        if not notices:
            raise CommandError("There is no address. Type one in the admin under Alerts.")
        for notice in notices:
            self.stdout.write(f"{notice.channel}: {notice.error or 'sent'}")
        if any(notice.error for notice in notices):
            raise CommandError("Not every address was reached.")
