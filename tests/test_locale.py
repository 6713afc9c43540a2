"""The French translation is whole, compiled, and what a French shop sees."""

from __future__ import annotations

import ast
import gettext
import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import translation
from django.utils.translation.template import templatize

from optico_sync.models import Subject, SyncState, VendorCredential
from optico_sync.outcome import REASONS
from tests.helpers import Vendor, deliver, error, place
from tests.settings import BASE_DIR

FOLDER = BASE_DIR / "optico_sync" / "locale" / "fr" / "LC_MESSAGES"
PO = (FOLDER / "django.po").read_text(encoding="utf-8")
MARKERS = {"_", "gettext", "gettext_lazy", "ngettext"}
PLACEHOLDER = re.compile(r"%\(\w+\)\w|%(?!\()\w|%%")

Key = str | tuple[str, int]


def entries() -> dict[Key, tuple[str, str]]:
    """By what gettext looks up: the English and the French. A plural form has its number in the key. No header."""
    found: dict[Key, tuple[str, str]] = {}
    for block in PO.split("\n\n"):
        fields: dict[str, str] = {}
        field = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            more = line
            if not line.startswith('"'):
                field, more = line.split(" ", 1)
            fields[field] = fields.get(field, "") + ast.literal_eval(more)
        for field, french in fields.items():
            if field == "msgstr":
                found[fields["msgid"]] = (fields["msgid"], french)
            elif field.startswith("msgstr["):
                number = int(field[7:-1])
                found[(fields["msgid"], number)] = (fields["msgid_plural" if number else "msgid"], french)
    del found[""]
    return found


def compiled() -> dict[Key, str]:
    with (FOLDER / "django.mo").open("rb") as file:
        catalog = gettext.GNUTranslations(file)._catalog
    return {key: french for key, french in catalog.items() if key}


def marked() -> set[str]:
    """What the code and the templates mark for translation, the sandbox apart."""
    app = BASE_DIR / "optico_sync"
    sources = [path for kind in ("*.py", "*.html") for path in app.rglob(kind) if "sandbox" not in path.parts]
    found = set()
    for path in sources:
        code = path.read_text(encoding="utf-8")
        if path.suffix == ".html":
            calls = re.findall(r"\b(?:_|n?gettext)\(.*?\) ", templatize(code))
            code = "\n".join(call.strip() for call in calls)
        for node in ast.walk(ast.parse(code)):
            is_marker = isinstance(node, ast.Call) and getattr(node.func, "id", "") in MARKERS
            if is_marker and isinstance(node.args[0], ast.Constant):
                found.add(node.args[0].value)
    return found


def test_everything_is_translated_and_nothing_is_guessed() -> None:
    assert [key for key, (_, french) in entries().items() if not french] == []
    assert "fuzzy" not in PO
    assert "\n#~" not in PO


def test_everything_marked_is_in_the_catalog_and_nothing_else() -> None:
    assert marked() == {key if isinstance(key, str) else key[0] for key in entries()}


def test_compiled_catalog_is_the_source() -> None:
    assert compiled() == {key: french for key, (_, french) in entries().items()}


def test_placeholders_agree() -> None:
    for english, french in entries().values():
        assert sorted(PLACEHOLDER.findall(french)) == sorted(PLACEHOLDER.findall(english)), english


def test_punctuation_is_french() -> None:
    """A no-break space before what stands apart and inside quotation marks, so that no line begins with it."""
    for _, french in entries().values():
        assert not re.search(r" [:;?!»]|« |[“”]|\w[;?!](?: |$)", french), french


def test_every_word_for_an_owner_is_french() -> None:
    texts = [text for reason in REASONS.values() for text in (reason.text, reason.advice)]
    for text in [*texts, *SyncState.State.labels]:
        with translation.override("en"):
            english = str(text)
        with translation.override("fr"):
            assert english == "" or str(text) != english


def words(html: str) -> str:
    """The text of a page in one line, with plain spaces; without the side bar, which has the shop's own models."""
    return re.sub(r"\s+", " ", re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", html.split("<main")[1], flags=re.DOTALL))


@pytest.fixture
def pages(admin_user: User, credential: VendorCredential) -> dict[str, str]:
    """The order list, an order's page and the credential's, for a French browser."""
    place("1001", "confirmed")
    deliver(credential, sender=Vendor())
    place("1002", "confirmed")
    deliver(credential, sender=Vendor(lambda form: error("Non")))
    client = Client(headers={"accept-language": "fr"})
    client.force_login(admin_user)
    urls = {
        "list": "subject/",
        "order": f"subject/{Subject.objects.get(reference='1002').pk}/change/",
        "credential": f"vendorcredential/{credential.pk}/change/",
    }
    # A request leaves its language active in the thread.
    with translation.override("en"):
        html = {name: client.get(f"/admin/optico_sync/{url}").content.decode() for name, url in urls.items()}
    return {name: words(page) for name, page in html.items()}


def test_pages_are_french(pages: dict[str, str]) -> None:
    for name, shown in {
        "list": [
            "Commandes : où en est chacune",
            "refus",
            "à jour",
            "a accepté « confirmed » · vente",
            "2 commandes",
        ],
        "order": ["Commande 1002", "Le prestataire a refusé cette commande.", "Envoyer à nouveau", "à personne"],
        "credential": ["Dernier envoi réussi il y a", "Statuts déclarés chez le prestataire", "Clé d’API client"],
    }.items():
        for text in shown:
            assert text in pages[name], text


def test_pages_hold_no_english(pages: dict[str, str]) -> None:
    english = r"\b(the|vendor|order|orders|refused|waiting|send|attempt|credential|worker|status in|sale|nothing)\b"
    for name, page in pages.items():
        assert re.search(english, page, re.IGNORECASE) is None, name
