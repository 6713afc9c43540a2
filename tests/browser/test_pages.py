"""Every page in light and dark, wide and narrow: accessible, within the screen, and nothing that the policy forbids.

`SCREENSHOTS=directory` keeps a picture of each.
"""

from __future__ import annotations

import os
import re
from gettext import GNUTranslations
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User

import optico_sync
from optico_sync.models import Notice, VendorCredential
from tests.browser.conftest import Manner, Owner, Sit
from tests.browser.pages import Place, places

#: What Django's own pages are found guilty of wherever they are: rule and the beginning of its place.
DJANGOS = [
    ("link-in-text-block", ".breadcrumbs"),
    ("link-in-text-block", ".small > a"),
    ("label-title-only", "#searchbar"),
    ("scrollable-region-focusable", ".results"),
]
#: What has a theme's colours, wherever it is.
THEMES = ("<a ", "<code")
NUMBER = re.compile(r"\d+")
BY_SCRIPT = re.compile(r"Today|Now|selected|Add another|^Remove$|^Skip|^Toggle|Show|Select all|Clear")
MANNERS = [Manner(width=width, scheme=scheme) for width in (1280, 390) for scheme in ("light", "dark")]


@pytest.mark.parametrize("manner", MANNERS, ids=str)
def test_every_page_is_accessible_and_keeps_to_the_policy_and_the_screen(sit: Sit, demo: User, manner: Manner) -> None:
    owner = sit(manner, demo)
    found: dict[str, list[str]] = {}
    for place in places(demo):
        owner.open(place.path)
        picture(owner, place)
        owner.page.evaluate("document.querySelectorAll('#content details').forEach(each => each.open = true)")
        found[place.name] = [*barriers(owner), *overflow(owner), *owner.complaints]
        owner.complaints.clear()
    problems = [f"{name}: {problem}" for name, of_page in found.items() for problem in of_page]
    assert not problems, "\n".join(problems)


def barriers(owner: Owner, within: str | None = None) -> list[str]:
    """What axe calls serious or critical, but for Django's own and a theme's."""
    # It would load the style sheets once more, inline.
    options = {"preload": False, "resultTypes": ["violations"]}
    violations = Axe().run(owner.page, context=within, options=options).response["violations"]
    found = [
        (one["id"], node["html"], " ".join(node["target"]), node["failureSummary"].splitlines()[1].strip())
        for one in violations
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
    return [
        f"{rule} at {target}: {why}"
        for rule, html, target, why in found
        if not any(rule == known and target.startswith(place) for known, place in DJANGOS)
        and not (within and rule == "color-contrast" and html.startswith(THEMES))
    ]


def overflow(owner: Owner) -> list[str]:
    width = owner.page.evaluate("document.scrollingElement.scrollWidth")
    return [f"{width} pixels wide"] if width > owner.manner.width else []


def picture(owner: Owner, place: Place, theme: str = "") -> None:
    if directory := os.environ.get("SCREENSHOTS"):
        path = Path(directory) / theme / str(owner.manner) / f"{place.name}.png"
        clip = owner.page.evaluate("({x: 0, y: 0, width: innerWidth, height: document.body.scrollHeight})")
        owner.page.screenshot(path=path, full_page=True, clip={**clip, "height": min(clip["height"], 2500)})


def test_every_page_says_the_same_without_javascript(sit: Sit, demo: User) -> None:
    plain, scripted = (sit(Manner(width=390, has_javascript=has), demo) for has in (False, True))
    for place in places(demo):
        plain.open(place.path)
        scripted.open(place.path)
        # What only a script can do has no words without it: Today, Now, 0 of 40 selected.
        lacking = {line for line in statements(scripted) - statements(plain) if not BY_SCRIPT.search(line)}
        assert not lacking, f"{place.name}: {lacking}"
        assert plain.complaints == []


def statements(owner: Owner) -> set[str]:
    """The lines of the page. Times go on between two looks."""
    lines = owner.page.locator("#content").inner_text().splitlines()
    return {NUMBER.sub("0", line.strip()) for line in lines if line.strip()}


def test_no_page_speaks_english_to_the_french(sit: Sit, demo: User) -> None:
    owner = sit(Manner(language="fr"), demo)
    with (Path(optico_sync.__file__).parent / "locale/fr/LC_MESSAGES/django.mo").open("rb") as compiled:
        catalogue = GNUTranslations(compiled)._catalog
    # Names are the owner's own, and messages are in the language they were sent in.
    names = " ".join(VendorCredential.objects.values_list("name", flat=True))
    Notice.objects.all().delete()
    sentences = [
        (english, french)
        for english, french in catalogue.items()
        if isinstance(english, str) and len(english) >= 12 and "%" not in english and english not in french + names
    ]
    found = {}
    for place in places(demo):
        owner.open(place.path)
        text = owner.page.locator("body").inner_text()
        english = [words for words, french in sentences if words in text and words not in french]
        assert any(french in text for _english, french in sentences), f"{place.name} says nothing of ours"
        if english:
            found[place.name] = english
    assert found == {}
