"""``manage.py optico_backfill``: sends the shop's old orders, as a job behind whatever is live."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from optico_sync import insight, jobs
from optico_sync.exceptions import ConfigurationError
from optico_sync.management.arguments import add_operator, credential_named, moment, operator_named, told
from optico_sync.models import Job
from optico_sync.preview import Preview, to_type
from optico_sync.relay import relay_all
from optico_sync.selection import Selection
from optico_sync.verbs import log

#: Seconds between two looks, and between two lines where there is no terminal.
LOOK = 0.5
LINE = 30.0

State = Job.State


class Command(BaseCommand):
    help = (
        "Send the orders that the shop has, as a job: previewed first, behind everything that is live, a little at a "
        "time. The worker goes on with it when this command ends. Exits 0 when every order got there or was left out "
        "on purpose, 1 when some were refused or it was cancelled, 2 when it is not over yet."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="placed_from", type=moment, metavar="DATE", help="cut-off: older ones never")
        parser.add_argument("--until", dest="placed_until", type=moment, metavar="DATE", help="placed before")
        parser.add_argument("--status", action="append", metavar="STATUS", help="orders in this shop status; repeat")
        parser.add_argument("--credential", metavar="NAME", help="only this one; else each that is switched on")
        parser.add_argument(
            "--before-start", action="store_true", help="also orders from before the credential's start date"
        )
        add_operator(parser)
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask, however many orders or mails it is about")
        waits = parser.add_mutually_exclusive_group()
        waits.add_argument("--wait", dest="wait", action="store_true", default=None, help="default on a terminal")
        waits.add_argument("--no-wait", dest="wait", action="store_false", help="leave it to the worker at once")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--list", action="store_true", help="the latest jobs, and how far they came")
        what.add_argument("--pause", type=int, metavar="JOB", help="send nothing more of it until it is resumed")
        what.add_argument("--resume", type=int, metavar="JOB", help="go on with it, and show its progress")
        what.add_argument("--cancel", type=int, metavar="JOB", help="send nothing more of it, for good")

    def handle(self, *args: Any, **options: Any) -> None:
        self._operator = operator_named(options["operator"])
        try:
            if options["list"]:
                self._list()
            elif options["pause"]:
                self._move(options["pause"], "pause", "paused")
            elif options["cancel"]:
                self._move(options["cancel"], "cancel", "cancelled")
            elif options["resume"]:
                job = _find(options["resume"])
                if job.resume():
                    self._log([job])
                self._follow([job], wait=options["wait"])
            else:
                self._start(options)
        except ConfigurationError as error:
            raise CommandError(str(error)) from error

    # what it is about

    def _start(self, options: dict[str, Any]) -> None:
        selection = Selection(
            statuses=options["status"], placed_from=options["placed_from"], placed_until=options["placed_until"]
        )
        asked = {"credential_id": credential_named(options["credential"]), "reaches_back": options["before_start"]}
        if not jobs.credentials_for(asked["credential_id"]):
            raise CommandError("No vendor credential is switched on, so there is nobody to send to.")
        relay_all()
        with tqdm(desc="Looking", unit=" orders", disable=None, file=self.stderr) as progress:
            found = jobs.foresee(Job.Verb.BACKFILL, selection, watch=progress.update, **asked)
        for line in told(found):
            self.stdout.write(line)
        if old := sum(one.left_out["before_start"] for one in found):
            self.stdout.write(
                f"\nOlder than their credential's start date and therefore left out: {old}. "
                "To send those too, this once, add --before-start."
            )
        if options["dry_run"]:
            self.stdout.write("\nNothing was sent: this was a dry run.")
            return
        if not any(one.sends for one in found):
            self.stdout.write("\nThere is nothing to send.")
            return
        if not options["yes"]:
            self._confirm(found)
        by = self._operator.get_username() if self._operator else "optico_backfill"
        started = jobs.start(Job.Verb.BACKFILL, selection, by=by, **asked)
        self._log(started)
        self.stdout.write("\n" + "\n".join(f"Started job {job.pk}: {job.credential}." for job in started))
        self._follow(started, wait=options["wait"])

    def _confirm(self, found: Sequence[Preview]) -> None:
        number = to_type(found)
        if not number:
            return
        mails = sum(one.mails for one in found)
        what = f"{number} requests" + (f", after which {mails} customers are written to" if mails else "")
        if not sys.stdin.isatty():
            raise CommandError(f"This is about {what}: confirm it by --yes. Nothing was sent.")
        self.stdout.write(f"\nThis is about {what}. Type {number} to go on: ", ending="")
        self.stdout.flush()
        if sys.stdin.readline().strip() != str(number):
            raise CommandError("Not confirmed. Nothing was sent.")

    # how far it is

    def _follow(self, asked: Sequence[Job], *, wait: bool | None) -> None:
        """Show the progress until all is over. The job needs nobody who watches, but this process helps to queue."""
        if wait is None:
            wait = self.stderr.isatty()
        if not insight.heartbeat().running:
            self.stdout.write("No worker is heard, and it is the worker that delivers: start optico_worker.")
        if not wait:
            self.stdout.write("The worker does it. See how far it is: optico_backfill --list")
            return
        try:
            seen = self._watch(asked)
        except KeyboardInterrupt:
            for job in asked:
                stop, again = f"optico_backfill --cancel {job.pk}", f"optico_backfill --resume {job.pk}"
                self.stdout.write(f"\nThe worker goes on with job {job.pk}. Stop it: {stop}. Watch it again: {again}.")
            sys.exit(2)
        self._conclude(seen)

    def _watch(self, asked: Sequence[Job]) -> Sequence[Job]:
        with ExitStack() as stack:
            bars = [
                stack.enter_context(
                    tqdm(desc=str(job.credential), total=job.total, unit=" orders", disable=None, file=self.stderr)
                )
                for job in asked
            ]
            lines = _Lines()
            while True:
                is_busy = bool(jobs.work())
                ids = [job.pk for job in asked]
                asked = list(Job.objects.with_credentials().filter(pk__in=ids).order_by("pk"))
                for job, bar in zip(asked, bars, strict=True):
                    bar.total = job.total
                    bar.update(jobs.dealt_with(job) - bar.n)
                if all(bar.disable for bar in bars) and (line := lines.next(asked)):
                    self.stdout.write(line)
                if all(job.is_over or job.state == State.PAUSED for job in asked):
                    return asked
                if not is_busy:
                    time.sleep(LOOK)

    def _conclude(self, asked: Sequence[Job]) -> None:
        for job in asked:
            self._tell(job)
        if any(job.state == State.PAUSED for job in asked):
            sys.exit(2)
        if any(job.refused or job.state == State.CANCELLED for job in asked):
            sys.exit(1)

    # the others

    def _list(self) -> None:
        latest = list(Job.objects.with_credentials().order_by("-pk")[:20])
        for job in latest:
            self._tell(job)
        if not latest:
            self.stdout.write("There is no job.")

    def _tell(self, job: Job) -> None:
        about = f", {job.credential}" if job.credential else ""
        self.stdout.write(f"\nJob {job.pk}, {job.get_verb_display()}{about}: {job.get_state_display()}.")
        for sentence in jobs.account(job):
            self.stdout.write(f"  {sentence}")

    def _move(self, job_id: int, verb: str, done: str) -> None:
        job = _find(job_id)
        if not getattr(job, verb)():
            raise CommandError(f"Job {job.pk} is {job.get_state_display()}: it cannot be {done}.")
        self._log([job])
        jobs.work()
        self._tell(_find(job_id))

    def _log(self, asked: Sequence[Job]) -> None:
        for job in asked:
            log(self._operator, [job], " ".join([f"{job.get_state_display()}:", *jobs.account(job)]))


class _Lines:
    """Progress where there is no terminal: now and then one plain line."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()
        self._first: int | None = None

    def next(self, asked: Sequence[Job]) -> str:
        dealt, total = sum(map(jobs.dealt_with, asked)), sum(job.total or 0 for job in asked)
        if self._first is None:
            self._first = dealt
        now = time.monotonic()
        if now - self._told < LINE:
            return ""
        self._told = now
        rate = (dealt - self._first) / (now - self._began)
        left = f", about {tqdm.format_interval((total - dealt) / rate)} left" if rate else ""
        return f"{dealt} of {total} orders, {rate:.1f} a second{left}."


def _find(job_id: int) -> Job:
    job = Job.objects.with_credentials().filter(pk=job_id).first()
    if job is None:
        raise CommandError(f"There is no job {job_id}. See optico_backfill --list.")
    return job
