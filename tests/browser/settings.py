"""The demo shop under the strictest Content-Security-Policy, for a browser to walk through.

Run by `pytest --ds tests.browser.settings tests/browser`, apart from the other tests: it needs Debian's chromium, and
playwright and axe-playwright-python besides requirements.txt. `OPTICO_THEME` names a theme of the admin.
"""

import os

from shop_demo.settings import OPTICO_SYNC as _DEMO
from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS, MIDDLEWARE
from tests.settings import OPTICO_SYNC as _PLAIN

#: The theme's apps, before the admin's own.
_THEMES = {"": [], "unfold": ["unfold"], "jazzmin": ["jazzmin"], "grappelli": ["grappelli"]}
THEME = os.environ.get("OPTICO_THEME", "")
INSTALLED_APPS = [*_THEMES[THEME], *INSTALLED_APPS]
# Themes have inline scripts and styles of their own.
MIDDLEWARE = [*MIDDLEWARE] if THEME else ["tests.browser.policy.PolicyMiddleware", *MIDDLEWARE]
ROOT_URLCONF = "tests.browser.urls"

OPTICO_SYNC = _PLAIN | {"ORDER": _DEMO["ORDER"], "CART": _DEMO["CART"]}

# Playwright keeps an event loop in the tests' thread, which Django takes for an asynchronous view.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
# The server's word on what a test asks for and may not have.
LOGGING = {"version": 1, "disable_existing_loggers": False, "loggers": {"django.request": {"level": "CRITICAL"}}}
