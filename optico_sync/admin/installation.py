"""The buttons of the banner that a copy of the installation shows."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import BadRequest, ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext as _

from optico_sync import insight
from optico_sync import installation as verbs
from optico_sync.models import Installation


def may_configure(request: HttpRequest) -> bool:
    return request.user.has_perm("optico_sync.change_vendorcredential")


def buttons(request: HttpRequest) -> dict[str, Any]:
    """What the buttons of ``_installation.html`` need."""
    return {"sandbox_url": verbs.SANDBOX_URL, "can_configure": may_configure(request)}


def banner(request: HttpRequest) -> dict[str, Any]:
    """What ``_installation.html`` shows, on pages without the strip."""
    return {"installation": insight.installation(), **buttons(request)}


def answer(request: HttpRequest) -> None:
    """Do what the posted ``verb`` says, tell the operator, and write one line to Django's admin log."""
    found = insight.installation()
    if not found.is_another:
        messages.warning(request, _("Nothing to decide: this is the installation that everything was set up for."))
        return
    verb = request.POST.get("verb", "")
    if verb == "sandbox":
        try:
            off = verbs.use_sandbox(request.POST.get("url", "").strip())
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
            return
        told = _("Every credential sends to the sandbox now; the live keys are gone from this copy.")
        if off:
            told += " " + _("Switched off, for want of a sandbox: %(names)s.") % {"names": ", ".join(off)}
    elif verb == "adopt":
        count = verbs.adopt()
        told = _("This is the real installation now. Credentials that go on sending: %(count)d.") % {"count": count}
    elif verb == "stay_off":
        verbs.stay_off()
        told = _("This copy stays off: it collects changes and sends nothing.")
    else:
        raise BadRequest("Unknown verb.")
    messages.success(request, told)
    LogEntry.objects.create(
        user_id=request.user.pk,  # type: ignore[misc]
        content_type=ContentType.objects.get_for_model(Installation),
        object_repr=str(found.here.address)[:200],
        action_flag=CHANGE,
        change_message=_("%(told)s It differed in: %(signs)s.") % {"told": told, "signs": found.words},
    )
