"""A django-oscar shop as Oscar's documentation sets one up, with this app in it.

Run by `pytest --ds tests.oscar.settings tests/oscar`, apart from the other tests: Oscar brings some thirty apps.
"""

import oscar
from oscar.defaults import *  # noqa: F403

from tests.settings import (  # noqa: F401
    ALLOWED_HOSTS,
    BASE_DIR,
    DATABASES,
    DEBUG,
    DEFAULT_AUTO_FIELD,
    PASSWORD_HASHERS,
    SECRET_KEY,
    SILENCED_SYSTEM_CHECKS,
    STATIC_URL,
    TIME_ZONE,
    USE_TZ,
)
from tests.settings import OPTICO_SYNC as _PLAIN

#: Apps of Oscar that the shop forks, as `oscar_fork_app` does: it has 20 % tax, shipping that costs, and payments.
_FORKS = {
    f"oscar.apps.{label}.apps.{config}": f"tests.oscar.{label}.apps.{config}"
    for label, config in (
        ("partner", "PartnerConfig"),
        ("shipping", "ShippingConfig"),
        ("checkout", "CheckoutConfig"),
    )
}
INSTALLED_APPS = [
    *(_FORKS.get(app, app) for app in oscar.INSTALLED_APPS),
    "optico_sync",
    # The helpers that all tests share know its models.
    "tests.oddshop",
]
SITE_ID = 1
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "optico_sync.middleware.VisitMiddleware",
    "oscar.apps.basket.middleware.BasketMiddleware",
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
]
ROOT_URLCONF = "tests.oscar.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.debug",
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "oscar.apps.search.context_processors.search_form",
                "oscar.apps.checkout.context_processors.checkout",
                "oscar.apps.communication.notifications.context_processors.notifications",
                "oscar.core.context_processors.metadata",
            ]
        },
    }
]
AUTHENTICATION_BACKENDS = [
    "oscar.apps.customer.auth_backends.EmailBackend",
    "django.contrib.auth.backends.ModelBackend",
]
HAYSTACK_CONNECTIONS = {"default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}}
# Nobody searches here.
HAYSTACK_SIGNAL_PROCESSOR = "haystack.signals.BaseSignalProcessor"
# Products have no pictures here, and sorl.thumbnail is not installed.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"oscar.thumbnail": {"level": "CRITICAL"}},
}
MEDIA_ROOT = BASE_DIR / "var"

OSCAR_DEFAULT_CURRENCY = "EUR"
OSCAR_ALLOW_ANON_CHECKOUT = True
OSCAR_INITIAL_ORDER_STATUS = "Pending"
OSCAR_INITIAL_LINE_STATUS = "Pending"
OSCAR_ORDER_STATUS_PIPELINE = {
    "Pending": ("Being processed", "Cancelled"),
    "Being processed": ("Complete", "Cancelled"),
    "Cancelled": (),
    "Complete": (),
}
OSCAR_LINE_STATUS_PIPELINE = OSCAR_ORDER_STATUS_PIPELINE
OSCAR_ORDER_STATUS_CASCADE = {"Being processed": "Being processed"}

# Oscar's tables as its models have them now: 170 migrations show nothing about us. The name is not the other tests'.
_test = DATABASES["default"].setdefault("TEST", {})
_test["MIGRATE"] = False
if not DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    _test["NAME"] = f"test_{DATABASES['default']['NAME']}_oscar"

OPTICO_SYNC = {name: value for name, value in _PLAIN.items() if name not in ("ORDER", "CART")} | {"SHOP": "oscar"}
