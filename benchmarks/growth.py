"""Does it stay as fast when the tables grow? The same things done among few orders and among many, in turn.

    DATABASE_URL=postgres://... python -m benchmarks.growth [--sizes 10000 5000000] [--rounds 25] [--only WORD] [--keep]

PostgreSQL or SQLite. Each size has a database of its own, beside the one that DATABASE_URL names, filled in bulk: one
order of every thousand days' worth at an even pace, all told to one vendor, the newest fifth to a second one too; some
hundred of them waiting, some hundred refused, one in fifty left out, the others in sync, each with its captured change
and its attempt. Dropped at the end unless ``--keep``. Every size is a process of its own, so that none warms another.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.rounds import interleave, print_table, ratio

DAYS = 1000
CHUNK = 250_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 5_000_000])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--keep", action="store_true", help="leave the databases, and use those left before")
    parser.add_argument("--only", nargs="+", default=[""], help="words of the names of what is measured")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, keep=options.keep)
        return 0
    sizes = {size: _Side(size, keep=options.keep) for size in options.sizes}
    first, *others = sizes.values()
    try:
        names = [name for name in first.names if any(word in name for word in options.only)]
        rows = [_row(name, sizes, options.rounds) for name in names]
    finally:
        for side in sizes.values():
            side.close()
    sys.stdout.write(f"{first.machine}\n\n")
    heads = [f"{size:,} orders" for size in sizes]
    print_table(["", *heads, *(f"ratio at {side.size:,}" for side in others)], rows)
    return 0


class _Side:
    """A process with a database of one size: says what it can do, and how many seconds it took."""

    def __init__(self, size: int, *, keep: bool) -> None:
        self.size = size
        command = [sys.executable, "-m", "benchmarks.growth", "--serve", str(size), *(["--keep"] if keep else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.machine, names = self._read(), self._read()
        self.names = names.split("\t")

    def ask(self, name: str) -> float:
        assert self._process.stdin
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        return float(self._read())

    def close(self) -> None:
        self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"The process of {self.size} orders has ended.")
        return line.rstrip("\n")


def _row(name: str, sizes: Mapping[int, _Side], rounds: int) -> list[str]:
    figures = interleave({str(size): partial(side.ask, name) for size, side in sizes.items()}, rounds)
    base = figures[str(next(iter(sizes)))]
    medians = [f"{1000 * statistics.median(seconds):.2f} ms" for seconds in figures.values()]
    return [name, *medians, *(f"{ratio(seconds, base):.2f}" for seconds in list(figures.values())[1:])]


# one size


def serve(size: int, *, keep: bool) -> None:
    """Answer the names that come by standard input with seconds."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from benchmarks.rounds import machine

    with _database(size, keep=keep) as is_new:
        if is_new:
            fill(size)
        doing = things(size)
        sys.stdout.write(f"{machine()}\n" + "\t".join(doing) + "\n")
        sys.stdout.flush()
        for line in sys.stdin:
            sys.stdout.write(f"{doing[line.strip()]()}\n")
            sys.stdout.flush()


@contextmanager
def _database(size: int, *, keep: bool) -> Iterator[bool]:
    """The database of this size; True where it is empty."""
    from django.db import connection

    own = connection.settings_dict
    is_file = connection.vendor == "sqlite"
    name = str(Path(tempfile.gettempdir()) / f"growth_{size}.sqlite3") if is_file else f"growth_{size}"
    own["TEST"] = {**own["TEST"], "NAME": name}
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False, keepdb=keep)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM (SELECT 1 FROM optico_sync_subject LIMIT 1) AS any_row")
        is_new = not cursor.fetchone()[0]
    try:
        yield is_new
    finally:
        if not keep:
            connection.creation.destroy_test_db(name, verbosity=0)
            if is_file:
                for file in Path(name).parent.glob(f"{Path(name).name}*"):
                    file.unlink()


def fill(size: int) -> None:
    """``size`` orders and what belongs to them, in bulk SQL; every row but the first few is a copy of a first one."""
    from django.contrib.auth.models import User
    from django.core.management.color import no_style
    from django.db import connection
    from django.utils import timezone

    from optico_sync.figures import take_readings
    from optico_sync.models import Attempt, OutboxEvent, Subject, SyncState
    from tests.helpers import make_credential, place

    User.objects.create_superuser("owner")
    place()
    OutboxEvent.objects.all().delete()
    told, later = make_credential(name="All"), make_credential(name="Later")
    now = timezone.now()
    subject = Subject.objects.create(
        kind="order", key="k", reference="R", status="confirmed", created_at=now, changed_at=now, status_at=now
    )
    state = SyncState.objects.create(
        subject=subject, credential=told, state="in_sync", last_queued="confirmed", sent_status="confirmed",
        accepted_status="confirmed", accepted_is_sale=True, generation=1, answered_generation=1,
        fingerprint="f" * 32, delivered_at=now,
    )  # fmt: skip
    event = OutboxEvent.objects.create(kind="order", key="k", change="saved", status="confirmed", created_at=now)
    attempt = Attempt.objects.create(
        sync_state=state, started_at=now, duration_ms=90, generation=1, shop_status="confirmed", status="confirmed",
        request="id=1001&status=confirmed&total=59.98&products=" + "x" * 150, http_status=200,
        answer='{"status": "success"}', outcome="delivered", reason="", worker="w-1",
    )  # fmt: skip
    base, step = subject.pk, DAYS * 86400 / size
    ago = f"({size} - n) * {step}"
    if connection.vendor == "postgresql":
        at, series = f"now() - ({ago}) * interval '1 second'", "generate_series({0}, {1}) AS series(n)"
        recursive = ""
    else:
        at = f"strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || ({ago}) || ' seconds')"
        recursive = "WITH RECURSIVE series(n) AS (SELECT {0} UNION ALL SELECT n + 1 FROM series WHERE n < {1}) "
        series = "series"

    def copies(first: Any, *, since: int = 1, **columns: str) -> None:
        """As many copies of ``first`` as there are orders, each column by its own words."""
        names = [field.column for field in first._meta.concrete_fields if field.column != "id" or "id" in columns]
        values = ", ".join(columns.get(name, f"first.{name}") for name in names)
        table = first._meta.db_table
        for start in range(since, size + 1, CHUNK):
            ends = start, min(start + CHUNK - 1, size)
            with connection.cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO {table} ({', '.join(names)}) {recursive.format(*ends)}"
                    f"SELECT {values} FROM {series.format(*ends)}, {table} AS first WHERE first.id = {first.pk}"
                )

    key, few = "'k' || n", max(size // 300, 2)
    left_out = "n % 50 = 3"
    copies(
        subject, id=f"{base} + n", key=key, reference="'R' || n", created_at=at, changed_at=at, status_at=at,
        visit_id="CASE WHEN n % 3 = 0 THEN '' ELSE 'visit' || n END",
        call_id=f"CASE WHEN n % {max(size // 12, 2)} = 5 THEN 'call' ELSE '' END",
    )  # fmt: skip
    standing = f"WHEN n % {few} = 1 THEN 'refused'"
    waits = f"n > {size - 200}"
    copies(
        state, id=f"{state.pk} + n", subject_id=f"{base} + n", delivered_at=at,
        state=f"CASE WHEN {waits} THEN 'waiting' {standing} WHEN {left_out} THEN 'not_sent' ELSE 'in_sync' END",
        reason=f"CASE WHEN {waits} THEN '' {standing} WHEN {left_out} THEN 'status_not_sent' ELSE '' END",
        due_at=f"CASE WHEN {waits} THEN {at} END", generation=f"CASE WHEN {waits} THEN 2 ELSE 1 END",
    )  # fmt: skip
    copies(
        state, since=size - size // 5, id=f"{state.pk + size} + n", subject_id=f"{base} + n", delivered_at=at,
        credential_id=str(later.pk),
    )  # fmt: skip
    copies(event, key=key, created_at=at, relayed_at=at)
    copies(attempt, sync_state_id=f"{state.pk} + n", started_at=at)
    event.delete()
    with connection.cursor() as cursor:
        for sql in connection.ops.sequence_reset_sql(no_style(), [Subject, SyncState]):
            cursor.execute(sql)
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")
    took, _ = _timed(take_readings)
    sys.stderr.write(f"{size:,} orders are there; a worker counts them in {1000 * took:.0f} ms.\n")


def things(size: int) -> dict[str, Callable[[], float]]:
    """What is measured, by name: each does it once, and returns the seconds."""
    from django.contrib.auth.models import User
    from django.db import transaction
    from django.test import Client

    from optico_sync.delivery import Lane
    from optico_sync.health import health
    from optico_sync.models import Subject, VendorCredential
    from optico_sync.relay import relay_all
    from tests.oddshop.models import Purchase

    told, later = VendorCredential.objects.order_by("pk")
    oldest = Subject.objects.order_by("pk")[0].pk
    middle = oldest + size // 2
    purchase = Purchase.objects.get()
    client = Client()
    client.force_login(User.objects.get())
    orders = "/admin/optico_sync/subject/"

    def undone(do: Callable[[], object]) -> float:
        with transaction.atomic():
            seconds, _ = _timed(do)
            transaction.set_rollback(True)
        return seconds

    def page(url: str) -> float:
        seconds, response = _timed(lambda: client.get(url))
        assert response.status_code == 200, response
        return seconds

    def export() -> float:
        response: Any = client.get(f"{orders}export/")
        lines = iter(response.streaming_content)
        seconds, _ = _timed(lambda: (next(lines), next(lines)))
        response.close()
        return seconds

    lists = {
        "first page": "",
        "a page in the middle": f"?p=older-{middle}",
        "back from the middle": f"?p=newer-{middle}",
        "refused": "?state=refused",
        "refused, older than the middle": f"?state=refused&p=older-{middle}",
        "not sent, for a reason": "?reason=status_not_sent",
        "for a reason that no order has": "?reason=no_rule",
        "one credential": f"?credential={later.pk}",
        "never offered to one": f"?credential={later.pk}&state=not_sent",
        "in sync": "?state=in_sync",
        "credited to nobody": "?attributed=no",
        "credited to a call (12 are)": "?attributed=call",
        "one reference": f"?q=R{size // 2}",
        "a beginning that all have": "?q=R",
    }
    carts = "/admin/optico_sync/cart/"
    return {
        "a save in the shop, captured": lambda: undone(purchase.save),
        "claim of a batch": lambda: undone(Lane(told.pk)._claim),
        "idle poll": lambda: _timed(Lane(later.pk).deliver)[0],
        "relay with nothing to do": lambda: _timed(relay_all)[0],
        **{f"list: {name}": partial(page, orders + query) for name, query in lists.items()},
        "list of carts, none": partial(page, carts),
        "export: the first 1,000 rows": export,
        "one order's page": partial(page, f"{orders}{middle}/change/"),
        "overview": partial(page, "/admin/optico_sync/"),
        "health": lambda: _timed(health)[0],
    }


def _timed(do: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    answer = do()
    return time.perf_counter() - begun, answer


if __name__ == "__main__":
    sys.exit(main())
