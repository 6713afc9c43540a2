"""Times in words."""

from __future__ import annotations

from datetime import timedelta

from django.utils.translation import gettext as _
from django.utils.translation import ngettext


def spell(span: timedelta) -> str:
    """``span`` in one unit, rounded down: ``5 s``, ``3 min``, ``2 h``, ``4 days``."""
    seconds = max(int(span.total_seconds()), 0)
    if seconds < 60:
        return _("%(count)d s") % {"count": seconds}
    if seconds < 3600:
        return _("%(count)d min") % {"count": seconds // 60}
    if seconds < 2 * 86400:
        return _("%(count)d h") % {"count": seconds // 3600}
    days = seconds // 86400
    return ngettext("%(count)d day", "%(count)d days", days) % {"count": days}
