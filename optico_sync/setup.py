"""The way from an installed app to the first delivery: what is done, what is next, and its cure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from optico_sync import conf, wakeups
from optico_sync.models import RelayState, StatusMapping, VendorCredential, Worker
from optico_sync.shops import has_shop

MIDDLEWARE = "optico_sync.middleware.VisitMiddleware"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step. ``cure`` says what to do while it is not done; ``credential`` is where, None for a developer's task."""

    label: str | Promise
    is_done: bool
    cure: str | Promise
    credential: VendorCredential | None = None


def steps(credentials: Sequence[VendorCredential]) -> list[Step]:
    """All steps in their order; none once every credential that is on has delivered something."""
    on = [credential for credential in credentials if credential.is_enabled]
    if on and all(credential.last_delivery_at for credential in on):
        return []
    found = [
        Step(
            label=_("The shop's order model is named"),
            is_done=has_shop(),
            cure=_("Ask your developer to name the order model in OPTICO_SYNC['ORDER']; manage.py check says how."),
        ),
        Step(
            label=_("The visit middleware is there"),
            is_done=MIDDLEWARE in settings.MIDDLEWARE,
            cure=_("Ask your developer to add it to MIDDLEWARE: without it no order is credited to its visit."),
        ),
        Step(
            label=_("Keys can be stored encrypted"),
            is_done=bool(conf.options().ENCRYPTION_KEYS),
            cure=_("Ask your developer to put a key into OPTICO_SYNC['ENCRYPTION_KEYS']; manage.py check says how."),
        ),
        Step(
            label=_("A worker was seen"),
            is_done=Worker.objects.exists(),
            cure=format_lazy(
                "{} {}", wakeups.words().start_hint, _("Ask your developer to have it started with the server.")
            ),
        ),
        *_round_step(),
        Step(
            label=_("There is a vendor credential, switched on"),
            is_done=bool(on),
            cure=_("Add one with the key the vendor gave you, and switch it on."),
            credential=next(iter(credentials), None),
        ),
    ]
    for credential in on:
        found += _steps_of(credential)
    return found


def _round_step() -> list[Step]:
    """The periodic round, where it is to be set up: the embedded worker makes it by itself."""
    if conf.options().ENGINE == "embedded":
        return []
    return [
        Step(
            label=_("The periodic round was seen, which looks for what has become due"),
            is_done=RelayState.objects.filter(round_at__isnull=False).exists(),
            cure=format_lazy(
                "{} {}", wakeups.words().round_hint, _("Ask your developer to have it started with the server.")
            ),
        )
    ]


def _steps_of(credential: VendorCredential) -> list[Step]:
    mappings = credential.status_mappings.values_list("choice", "declared__is_sale")
    choices = list(mappings)
    return [
        Step(
            label=_("%(name)s: the connection was tested") % {"name": credential.name},
            is_done=bool(
                credential.last_delivery_at or (credential.probed_at and credential.probe_was_good is not False)
            ),
            cure=_("Open the credential and press “Test the connection”."),
            credential=credential,
        ),
        Step(
            label=_("%(name)s: every status of the shop is mapped, and one is a sale") % {"name": credential.name},
            is_done=bool(choices)
            and all(choice != StatusMapping.Choice.UNDECIDED for choice, _is_sale in choices)
            and any(is_sale for _choice, is_sale in choices),
            cure=_("Declare the vendor's statuses and map each shop status to one of them, or to “do not send”."),
            credential=credential,
        ),
        Step(
            label=_("%(name)s: the first order was delivered") % {"name": credential.name},
            is_done=bool(credential.last_delivery_at),
            cure=_("Place an order, or change the status of one: it is sent within seconds."),
            credential=credential,
        ),
    ]
