"""What an operator can do with orders, as buttons and actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from optico_sync import resync
from optico_sync.models import Subject, VendorCredential

#: References that the log names; an action can be about a thousand.
NAMED = 20


@dataclass(frozen=True, kw_only=True)
class Verb:
    """``run`` does it, ``done`` says what came of it, ``idle`` that there was nothing to do."""

    label: str | Promise
    run: Callable[..., int]
    done: str | Promise
    idle: str | Promise


VERBS: Mapping[str, Verb] = {
    "resend": Verb(
        label=gettext_lazy("Send again"),
        run=resync.resend,
        done=gettext_lazy("Sends queued: %(count)d (orders chosen: %(orders)d)."),
        idle=gettext_lazy("Nothing was queued: there is no vendor credential to send to."),
    ),
    "hold": Verb(
        label=gettext_lazy("Hold"),
        run=resync.hold,
        done=gettext_lazy("Held: %(count)d (orders chosen: %(orders)d)."),
        idle=gettext_lazy("Nothing to hold: it is held already, or was never offered to a vendor."),
    ),
    "release": Verb(
        label=gettext_lazy("Release"),
        run=resync.release,
        done=gettext_lazy("Released: %(count)d (orders chosen: %(orders)d)."),
        idle=gettext_lazy("Nothing to release: only what is held by hand or refused can be released."),
    ),
}


def act(
    request: HttpRequest, name: str, subjects: Sequence[Subject], *, credential: VendorCredential | None = None
) -> None:
    """Do it, tell the operator, and write one line to Django's admin log."""
    verb = VERBS[name]
    count = verb.run([subject.pk for subject in subjects], credential_id=credential.pk if credential else None)
    told = str(verb.done) % {"count": count, "orders": len(subjects)}
    if credential:
        told = f"{credential.name}: {told}"
    if count:
        messages.success(request, told)
    else:
        messages.warning(request, str(verb.idle))
    is_one = len(subjects) == 1
    named = ", ".join(str(subject) for subject in subjects[:NAMED]) + (", …" if len(subjects) > NAMED else "")
    LogEntry.objects.create(
        user_id=request.user.pk,  # type: ignore[misc]
        content_type=ContentType.objects.get_for_model(Subject),
        object_id=str(subjects[0].pk) if is_one else None,
        object_repr=(str(subjects[0]) if is_one else _("%(count)d orders") % {"count": len(subjects)})[:200],
        action_flag=CHANGE,
        change_message=f"{verb.label}. {told} {named}",
    )
