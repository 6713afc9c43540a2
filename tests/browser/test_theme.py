"""The admin in the dress of another theme, which `OPTICO_THEME` names: every page is there, and its buttons work.

Themes bring scripts and styles of their own that a strict policy forbids, and barriers of their own: neither is judged.
What this app puts onto the page is.
"""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from tests.browser.conftest import Manner, Sit, flat
from tests.browser.pages import places
from tests.browser.settings import THEME
from tests.browser.test_pages import barriers, picture

#: Markup of ours.
OURS = "[class^='sync-'], [class*=' sync-']"
#: Words of ours that each page has to show.
SHOWN = {
    "overview": ["Where the orders stand", "Sends per hour"],
    "subject_changelist": ["Worker", "in sync", "waiting"],
    "subject_change-refused": ["What happened, newest first", "Send again"],
    "subject_compare-held": ["Nothing would be sent now"],
    "cart_changelist": ["Worker", "waiting"],
    "vendorcredential_add": ["Guaranteed Reviews", "Optimizely"],
    "add-optico": ["Customer API key"],
    "vendorcredential_change-optico": ["Test the connection", "Customer API key", "Status doctor"],
    "vendorcredential_doctor-optico": ["orders now", "to decide"],
    "alertsettings_change-one": ["Send a test message"],
    "worker_changelist": ["running"],
    "job_change-one": ["Cancel for good", "were looked at"],
    "job_backfill-preview": ["What this will do", "Send them"],
}


@pytest.mark.parametrize("manner", [Manner(), Manner(width=390, scheme="dark")], ids=str)
def test_every_page_is_there(sit: Sit, demo: User, manner: Manner) -> None:
    owner = sit(manner, demo)
    visited, problems = set(), []
    for place in places(demo):
        owner.open(place.path)
        picture(owner, place, THEME)
        # A theme may keep some of it behind a tab.
        text = flat(owner.page.locator("body").text_content() or "")
        missing = [words for words in SHOWN.get(place.name, []) if words not in text]
        assert not missing, f"{place.name}: {missing}\n{text}"
        hidden = "cells => cells.filter(cell => cell.scrollHeight > cell.clientHeight + 1).length"
        assert owner.page.eval_on_selector_all("td.field-standing", hidden) == 0, place.name
        if owner.page.locator(OURS).count():
            owner.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
            problems += [f"{place.name}: {problem}" for problem in barriers(owner, OURS)]
        visited.add(place.name)
    assert visited >= SHOWN.keys()
    assert not problems, "\n".join(problems)


def test_buttons_work(sit: Sit, demo: User) -> None:
    owner = sit(Manner(), demo)
    found = {place.name: place.path for place in places(demo)}
    owner.open(found["vendorcredential_change-optico"])
    owner.press("Test the connection")
    owner.sees("Optico answers and does not refuse the key.")
    owner.open(found["vendorcredential_doctor-optico"])
    owner.page.locator("button[form=sync-buttons]").first.click()
    owner.press("Go on")
    owner.sees("is declared now. Orders released:")
    owner.open(found["alertsettings_change-one"])
    owner.press("Send a test message")
    owner.sees("sent")
    owner.open(found["subject_change-refused"])
    owner.press("Hold")
    owner.sees("Held by hand.")
