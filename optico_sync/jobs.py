"""Jobs: one verb for very many orders, chunk by chunk, behind whatever is live; it survives the process that works it.

How a list asks for everything that matches it now, and not for what matches later::

    matching = Selection(state="refused", reason="unmapped_status", newest_id=jobs.newest_id())
    jobs.start(Job.Verb.SEND, matching, credential_id=chosen, by=request.user.get_username())

No key is stored: the query is, and the key of the last order looked at.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

from django.db import router, transaction
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from optico_sync import conf, resync
from optico_sync.exceptions import Unreadable
from optico_sync.models import Job, Rules, Subject, SyncState, VendorCredential
from optico_sync.models.bulk import upsert
from optico_sync.models.clock import database_now
from optico_sync.outcome import Kind, Outcome
from optico_sync.preview import Preview, preview
from optico_sync.preview import foresee as foresee_change
from optico_sync.selection import CHUNK, Selection
from optico_sync.shops import get_shop, has_shop
from optico_sync.snapshot import OrderSnapshot

logger = logging.getLogger(__name__)

#: Orders of one job that may wait to be sent at a time.
WINDOW = 3 * CHUNK

_VERBS = {
    Job.Verb.HOLD: resync.hold,
    Job.Verb.RELEASE: resync.release,
    Job.Verb.WITHHOLD: resync.withhold,
    Job.Verb.SEND_AFTER_ALL: resync.send_after_all,
    Job.Verb.CONFIRM: resync.confirm,
}
#: What they did, in words.
_DONE = {
    Job.Verb.HOLD: gettext_lazy("Held: %(count)d."),
    Job.Verb.RELEASE: gettext_lazy("Released: %(count)d."),
    Job.Verb.WITHHOLD: gettext_lazy("Not sent from now on: %(count)d."),
    Job.Verb.SEND_AFTER_ALL: gettext_lazy("Sent after all: %(count)d."),
    Job.Verb.CONFIRM: gettext_lazy("Confirmed to be at the vendor: %(count)d."),
}
_WITHDRAWN_FIELDS = [*resync.RESENT_FIELDS, "repeats", "lease"]


class _Lost(Exception):
    """The job was paused or cancelled, or another process has taken it over: what was about to be written is not."""


# ask


def newest_id() -> int:
    """The newest order known now: a selection that names it means none that come later."""
    orders = Subject.objects.using(router.db_for_write(Subject)).filter(kind=Subject.Kind.ORDER).order_by("-pk")
    return orders.values_list("pk", flat=True).first() or 0


def start(
    verb: str, selection: Selection, *, credential_id: int | None = None, reaches_back: bool = False, by: str = ""
) -> list[Job]:
    """Ask for ``verb`` to be done with the orders of ``selection``. Returns at once; whoever works jobs does it.

    Sending makes a job for each credential, of those that are switched on unless one is named, so that each goes on at
    its vendor's own pace. ``reaches_back`` sends also orders from before the credential's start date. Raises
    ``ConfigurationError`` where the shop's orders cannot be asked like this.
    """
    using = router.db_for_write(Job)
    now = database_now(using)
    targets = [one.pk for one in credentials_for(credential_id)] if Job(verb=verb).sends else [credential_id]
    asked: list[Job] = []
    for target in targets:
        meant = selection.of(target) if target else selection
        job = Job(verb=verb, selection=meant.to_json(), credential_id=target, reaches_back=reaches_back)
        job.asked_by, job.asked_at, job.leased_until = by[:150], now, now
        counted = meant.count_at_once()
        # Of very many the job itself counts how many.
        job.total = counted.number if counted.is_all else None
        asked.append(job)
    with transaction.atomic(using=using):
        for job in asked:
            job.save(using=using)
    return list(Job.objects.using(using).with_credentials().filter(pk__in=[job.pk for job in asked]).order_by("pk"))


def credentials_for(credential_id: int | None) -> Sequence[VendorCredential]:
    """Whom a job sends to: the credential named, or all that are switched on."""
    known = VendorCredential.objects.using(router.db_for_write(Job)).defer("sealed_secrets")
    return list(known.filter(pk=credential_id) if credential_id else known.filter(is_enabled=True))


def foresee(
    verb: str,
    selection: Selection,
    *,
    credential_id: int | None = None,
    reaches_back: bool = False,
    limit: int | None = None,
    watch: Callable[[int], object] = lambda count: None,
) -> list[Preview]:
    """What a job of ``selection`` would send, one preview a credential; of the first ``limit`` orders or so.

    ``watch`` is told of every chunk how many orders it held.
    """
    most = -(-limit // CHUNK) if limit else None
    if verb in (Job.Verb.RELEASE, Job.Verb.SEND_AFTER_ALL):
        keys = [key for chunk in selection.chunks(most=most) for key in chunk]
        meant = Subject.objects.using(router.db_for_write(Subject)).filter(kind=Subject.Kind.ORDER, key__in=keys)
        pks = list(meant.values_list("pk", flat=True))
        return foresee_change(lambda: _VERBS[Job.Verb(verb)](pks, credential_id=credential_id), among=pks)
    found: list[Preview] = []
    if not Job(verb=verb).sends:
        return found
    for credential in credentials_for(credential_id):
        chunks = selection.of(credential.pk).chunks(most=most)
        seen = _watched(chunks, watch)
        found += preview(seen, credential_id=credential.pk, verb=verb, reaches_back=reaches_back)
    return found


def _watched(chunks: Iterable[list[str]], watch: Callable[[int], object]) -> Iterator[list[str]]:
    for keys in chunks:
        yield keys
        watch(len(keys))


# work


def work(stop: threading.Event | None = None) -> int:
    """Do the next chunk of each job. Returns how many orders were dealt with; 0 while there is nothing to do."""
    if not conf.options().ENABLED or not has_shop():
        return 0
    using = router.db_for_write(Job)
    count = 0
    for job_id in list(Job.objects.using(using).left().order_by("pk").values_list("pk", flat=True)):
        if stop and stop.is_set():
            break
        try:
            count += advance(job_id)
        except Exception as error:
            # It must not keep the others from going on, and a database error's text can quote a row.
            logger.error("Job %s failed (%s); it is tried again.", job_id, type(error).__name__)
    return count


def advance(job_id: int) -> int:
    """Do the next chunk of one job, unless another process is at it. Returns how many orders that were."""
    using = router.db_for_write(Job)
    token, now = uuid.uuid4().hex, database_now(using)
    jobs = Job.objects.using(using)
    free = jobs.left().filter(pk=job_id, leased_until__lte=now)
    # For so long the chunk of a process that was killed keeps the next one waiting.
    if not free.update(lease=token, leased_until=now + timedelta(seconds=conf.options().LEASE)):
        return 0
    try:
        return _advance(jobs.with_credentials().get(pk=job_id), using)
    except _Lost:
        return 0
    finally:
        jobs.filter(pk=job_id, lease=token).update(leased_until=now)


def _advance(job: Job, using: str) -> int:
    if job.state == Job.State.CANCELLED:
        return _take_back(job, using)
    if job.state == Job.State.WAITING:
        jobs = Job.objects.using(using).filter(pk=job.pk, state=job.state)
        if not jobs.update(state=Job.State.RUNNING, started_at=database_now(using)):
            return 0
        job.state = Job.State.RUNNING
    if job.total is None:
        job.total = Selection.of_json(job.selection).count()
        Job.objects.using(using).filter(pk=job.pk).update(total=job.total)
    if job.is_at_end:
        _finish(job, using)
        return 0
    if not job.sends:
        return _do(job, using)
    # A full window: the vendor decides how fast it goes on. What rests, or failed by itself, keeps nothing back.
    waiting = job.sync_states.filter(state=SyncState.State.WAITING).exclude(reason="hold_period")
    return _queue(job, using) if waiting.count() <= WINDOW - CHUNK else 0


def _finish(job: Job, using: str) -> None:
    """Over when nothing of it waits any more: queued is not delivered."""
    with transaction.atomic(using=using):
        mine = _mine(job, using)
        if not mine.sync_states.exists():
            mine.state, mine.finished_at, mine.total = Job.State.FINISHED, database_now(using), mine.looked_at
            mine.save(update_fields=["state", "finished_at", "total"])


def _mine(job: Job, using: str) -> Job:
    """The job, locked, while it is still this process's and in the state that it was found in."""
    held = Job.objects.using(using).select_for_update().filter(pk=job.pk, lease=job.lease, state=job.state)
    mine = held.first()
    if mine is None:
        raise _Lost
    return mine


def _record(
    job: Job, cursor: str, looked_at: int, using: str, *, done: int = 0, left_out: Mapping[str, int] | None = None
) -> None:
    """Progress, in the transaction of what was done: a kill repeats nothing and loses nothing."""
    mine = _mine(job, using)
    mine.cursor, mine.is_at_end, mine.looked_at = cursor, not cursor, mine.looked_at + looked_at
    mine.count(done=done, left_out=left_out or {}, refused={})
    mine.save(update_fields=["cursor", "is_at_end", "looked_at", "done", "left_out", "refused"])


def _do(job: Job, using: str) -> int:
    """One chunk of what sends nothing by itself."""
    keys, cursor = Selection.of_json(job.selection).chunk(job.cursor)
    with transaction.atomic(using=using):
        subjects = Subject.objects.using(using).filter(kind=Subject.Kind.ORDER, key__in=keys)
        pks = list(subjects.values_list("pk", flat=True))
        done = _VERBS[Job.Verb(job.verb)](pks, credential_id=job.credential_id)
        _record(job, cursor, len(keys), using, done=done)
    return len(keys)


def _queue(job: Job, using: str) -> int:
    """Queue one chunk. A constant number of statements; the shop is read outside the transaction that writes."""
    credential = job.credential
    assert credential is not None  # noqa: S101 - for the type checker
    keys, cursor = Selection.of_json(job.selection).chunk(job.cursor)
    wanted, orders, left_out = _admitted(job, keys, using)
    with transaction.atomic(using=using):
        now = database_now(using)
        subjects = resync.know(wanted, orders)
        # What is captured and not relayed yet brings its own statuses, in their order.
        pending = resync.unrelayed(wanted)
        rows = resync.locked([subject.pk for subject in subjects], credential.pk, using)
        states = {state.subject_id: state for state in rows}
        old: list[SyncState] = []
        new: list[SyncState] = []
        for subject in subjects:
            state = states.get(subject.pk) or SyncState(subject=subject, credential=credential)
            (old if state.pk else new).append(state)
            order = orders.get(subject.key)
            status = order.status if isinstance(order, OrderSnapshot) and subject.key not in pending else ""
            known = status or state.last_queued or subject.status
            if reason := state.enlist(job, status=known, due_at=now, manner=credential.manner):
                left_out[reason] += 1
        credential.map_statuses({state.last_queued for state in (*old, *new)})
        upsert(old, resync.RESENT_FIELDS, using=using)
        SyncState.objects.using(using).bulk_create(new)
        _record(job, cursor, len(keys), using, left_out=left_out)
    return len(keys)


def _admitted(
    job: Job, keys: Sequence[str], using: str
) -> tuple[list[str], Mapping[str, OrderSnapshot | Unreadable], Counter[str]]:
    """Those that the credential may be told of at all, all orders as they were read, and why the others are left out.

    An order of a year that nobody wants sent leaves no row behind, and takes none of the vendor's slots.
    """
    assert job.credential is not None  # noqa: S101 - for the type checker
    orders = get_shop().read(keys, using=get_shop().database)
    known = Subject.objects.using(using).filter(kind=Subject.Kind.ORDER, key__in=keys)
    subjects = {subject.key: subject for subject in known}
    told = SyncState.objects.using(using).filter(credential=job.credential, delivered_at__isnull=False)
    told_ids = set(told.filter(subject__in=list(subjects.values())).values_list("subject", flat=True))
    rules, now = Rules(job.credential, using), database_now(using)
    wanted, left_out = [], Counter[str]()
    for key in keys:
        subject = subjects.get(key) or Subject(kind=Subject.Kind.ORDER, key=key, created_at=now, changed_at=now)
        is_exempt = job.reaches_back or subject.pk in told_ids
        admitted = rules.admit(orders.get(key), subject, is_exempt=is_exempt)
        if isinstance(admitted, Outcome) and admitted.kind is Kind.NOT_SENT:
            left_out[admitted.reason] += 1
        else:
            wanted.append(key)
    return wanted, orders, left_out


def _take_back(job: Job, using: str) -> int:
    """What a cancelled job has queued goes back to what it was; what is being sent is waited for."""
    with transaction.atomic(using=using):
        now = database_now(using)
        mine = SyncState.objects.using(using).filter(job=job.pk)
        # A lease that ran out: nobody will settle it.
        idle = mine.filter(Q(lease="") | Q(due_at__lte=now)).select_for_update().order_by("pk")
        rows = list(idle[:CHUNK])
        became = Counter(filter(None, (row.withdraw(now) for row in rows)))
        upsert(rows, _WITHDRAWN_FIELDS, using=using)
        is_last = not mine.exists()
        locked = _mine(job, using)
        doubtful = became.pop("ambiguous", 0)
        locked.count(left_out=became, refused={"ambiguous": doubtful} if doubtful else {})
        locked.finished_at = now if is_last else None
        locked.save(update_fields=["left_out", "refused", "finished_at"])
    return len(rows)


# tell


def account(job: Job) -> list[str]:
    """How far it came and what became of its orders, in words that a shop owner understands."""
    return list(_tell(job))


def _tell(job: Job) -> Iterator[str]:
    credential = job.credential
    if job.total is None:
        yield _("Orders looked at: %(count)d. How many there are is not counted yet.") % {"count": job.looked_at}
    else:
        yield _("%(count)d of %(total)d orders were looked at.") % {"count": job.looked_at, "total": job.total}
    if not job.sends or credential is None:
        yield str(_DONE[Job.Verb(job.verb)]) % {"count": job.done}
        return
    yield ngettext("The vendor has %(count)d order.", "The vendor has %(count)d orders.", job.done) % {
        "count": job.done
    }
    waiting = job.sync_states.count()
    if waiting:
        yield ngettext("%(count)d order waits to be sent.", "%(count)d orders wait to be sent.", waiting) % {
            "count": waiting
        }
    for code, count in Counter(job.refused).most_common():
        told = ngettext("%(count)d order cannot be sent:", "%(count)d orders cannot be sent:", count)
        yield f"{told % {'count': count}} {credential.explain(code).text}"
    for code, count in Counter(job.left_out).most_common():
        told = ngettext("%(count)d order is left out:", "%(count)d orders are left out:", count)
        yield f"{told % {'count': count}} {credential.explain(code).text}"
    if live := overtaken(job, waiting):
        yield ngettext(
            "%(count)d order changed meanwhile and went ahead with the live ones.",
            "%(count)d orders changed meanwhile and went ahead with the live ones.",
            live,
        ) % {"count": live}
    if not job.is_over and credential.hold_reason:
        yield _("At the moment nothing leaves: %(reason)s") % {
            "reason": credential.explain(credential.hold_reason).text
        }


def dealt_with(job: Job) -> int:
    """How many of its orders need nothing more."""
    return job.looked_at - job.sync_states.count()


def overtaken(job: Job, waiting: int) -> int:
    """Orders that a change, or somebody's hand, has taken out of the job before it was their turn."""
    counted = job.done + sum(job.left_out.values()) + sum(job.refused.values()) + waiting
    return max(job.looked_at - counted, 0)
