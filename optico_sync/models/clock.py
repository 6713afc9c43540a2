"""The database's clock: leases and due times of all workers are compared with this one."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import connections

#: The moment by vendor, as Django stores it where the database's TIME_ZONE is UTC.
NOW = {
    "postgresql": "clock_timestamp()",
    "mysql": "UTC_TIMESTAMP(6)",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now')",
}


def database_now(using: str) -> datetime:
    """The moment it is in the database ``using``, aware, in UTC."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {NOW[connection.vendor]}")
        now = cursor.fetchone()[0]
    if isinstance(now, str):
        now = datetime.fromisoformat(now)
    return now.astimezone(UTC) if now.tzinfo else now.replace(tzinfo=UTC)
