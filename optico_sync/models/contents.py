"""What orders held when they were first read after their last captured change: what the sweep compares with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.db import transaction

from optico_sync.models.bulk import write
from optico_sync.models.subjects import Subject


def note_contents(subjects: Iterable[Subject], contents: Mapping[str, str], *, using: str) -> None:
    """Remember the ``contents`` that were read of these orders, by key, after ``subjects`` were.

    A reading that a captured change has overtaken says nothing. Three statements, none where nothing is new.
    """
    seen = {
        subject.pk: subject
        for subject in subjects
        if (content := contents.get(subject.key)) and subject.content_after(content) != subject.content
    }
    if not seen:
        return
    with transaction.atomic(using=using):
        rows = Subject.objects.using(using).select_for_update().filter(pk__in=seen).order_by("kind", "key")
        noted = []
        for pk, changes, content in rows.values_list("pk", "changes", "content"):
            subject = seen[pk]
            if subject.changes == changes:
                subject.content = content
                subject.content = subject.content_after(contents[subject.key])
                noted.append(subject)
        write(noted, ["content"], using=using)
