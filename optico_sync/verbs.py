"""What an operator can do with orders, for every door: done, put into words, and written to Django's admin log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from optico_sync import resync
from optico_sync.erase import erase
from optico_sync.models import Subject, VendorCredential
from optico_sync.selection import Selection

#: Django's own word for it, which cannot be imported where its admin is not installed.
CHANGE = 2


@dataclass(frozen=True, kw_only=True)
class Verb:
    """``run`` does it, ``done`` says what came of it, ``idle`` that there was nothing to do."""

    label: str | Promise
    run: Callable[..., int]
    done: str | Promise
    idle: str | Promise


VERBS: Mapping[str, Verb] = {
    "resend": Verb(
        label=_("Send again"),
        run=resync.resend,
        done=_("Sends queued: %(count)d (orders chosen: %(orders)d)."),
        idle=_(
            "Nothing was queued: there is no vendor credential, the vendor was told and is told only once, or somebody "
            "decided that it is not sent."
        ),
    ),
    "hold": Verb(
        label=_("Hold"),
        run=resync.hold,
        done=_("Held: %(count)d (orders chosen: %(orders)d)."),
        idle=_("Nothing to hold: it is held already, or was never offered to a vendor."),
    ),
    "release": Verb(
        label=_("Release"),
        run=resync.release,
        done=_("Released: %(count)d (orders chosen: %(orders)d)."),
        idle=_("Nothing to release: only what is held by hand or refused can be released."),
    ),
    "withhold": Verb(
        label=_("Do not send"),
        run=resync.withhold,
        done=_("Not sent from now on: %(count)d (orders chosen: %(orders)d)."),
        idle=_("Nothing to do: that was decided already, or there is no vendor credential."),
    ),
    "send_after_all": Verb(
        label=_("Send after all"),
        run=resync.send_after_all,
        done=_("Sent after all: %(count)d (orders chosen: %(orders)d)."),
        idle=_("Nothing to do: nobody decided that it is not sent."),
    ),
    "confirm": Verb(
        label=_("It is there"),
        run=resync.confirm,
        done=_("Confirmed to be at the vendor: %(count)d (orders chosen: %(orders)d)."),
        idle=_("Nothing to confirm: only where no clear answer came."),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Done:
    """How many sync states a verb changed, and the same in words."""

    count: int
    told: str


def do(name: str, subjects: Sequence[Subject], *, user: Any, credential: VendorCredential | None = None) -> Done:
    """Do it to ``subjects``, for every credential or one, and write to Django's admin log who did.

    The log has a line for each order, with the numbers of all of them.
    """
    verb = VERBS[name]
    count = verb.run([subject.pk for subject in subjects], credential_id=credential.pk if credential else None)
    told = str(verb.done if count else verb.idle) % {"count": count, "orders": len(subjects)}
    if credential:
        told = f"{credential.name}: {told}"
    log(user, subjects, f"{verb.label}. {told}")
    return Done(count=count, told=told)


def resend_selected(selection: Selection, *, user: Any = None) -> Iterator[int]:
    """Send the orders of ``selection`` again; yields the number of orders of each chunk as it is queued."""
    credentials = VendorCredential.objects.defer("sealed_secrets")
    credential = credentials.get(pk=selection.credential_id) if selection.credential_id else None
    for keys in selection.chunks():
        do("resend", resync.know(keys), user=user, credential=credential)
        yield len(keys)


def erase_by_hand(subjects: Sequence[Subject], *, user: Any) -> str:
    """The same for what cannot be undone: forget whose ``subjects`` are. Returns what was erased, in words."""
    words = _("Erased: orders %(orders)d, carts %(carts)d, attempts %(attempts)d, captured changes %(changes)d.")
    told = str(words) % asdict(erase([subject.pk for subject in subjects]))
    log(user, subjects, told)
    return told


def log(user: Any, objects: Sequence[models.Model], message: str) -> None:
    """Write to Django's admin log that ``user`` did this to ``objects`` of one kind; nothing without a user.

    An order's time line shows what is written of it.
    """
    # A shop may use the API without the admin, and recognise callers that are no users of its own.
    if not (objects and apps.is_installed("django.contrib.admin") and isinstance(user, get_user_model())):
        return
    entries = apps.get_model("admin", "LogEntry")
    kind = ContentType.objects.get_for_model(objects[0])
    entries.objects.bulk_create(
        entries(
            user_id=user.pk,
            content_type=kind,
            object_id=str(one.pk),
            object_repr=str(one)[:200],
            action_flag=CHANGE,
            change_message=message,
        )
        for one in objects
    )
