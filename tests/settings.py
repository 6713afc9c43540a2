"""Settings of the test suite: SQLite, or the database that DATABASE_URL names."""

import os
from decimal import Decimal
from pathlib import Path

import environ

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "tests-only"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "Europe/Paris"
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("fr", "Français")]
USE_I18N = True
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# From Django 6.1 on; before, tests have this backend by themselves.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_tasks_db",
    "optico_sync",
    "shop_demo",
    "tests.oddshop",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "optico_sync.middleware.VisitMiddleware",
]
ROOT_URLCONF = "shop_demo.urls"
SANDBOX_URL = "http://127.0.0.1:8001"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "shop_demo.context_processors.shop",
            ]
        },
    }
]

DATABASES = {"default": env.db("DATABASE_URL", default="sqlite:///" + str(BASE_DIR / "var" / "tests.sqlite3"))}
_default = DATABASES["default"]
if _default["ENGINE"].endswith("sqlite3"):
    (BASE_DIR / "var").mkdir(exist_ok=True)
    _default["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
    }
    # A file, so that worker processes can be let loose on it; of its own for each run, so that two do not collide.
    _default["TEST"] = {"NAME": str(BASE_DIR / "var" / f"test_{os.getpid()}.sqlite3")}
elif _default["ENGINE"].endswith("mysql"):
    _default["OPTIONS"] = {"charset": "utf8mb4"}
    _default["TEST"] = {"CHARSET": "utf8mb4"}
# Worker processes that a test starts are told the test database by its own name.
if _name := env("OPTICO_TEST_DATABASE", default=""):
    _default["NAME"] = _name
# MariaDB has no partial indexes; the app's are made so that the full ones do as well.
SILENCED_SYSTEM_CHECKS = ["models.W037"]

TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

OPTICO_SYNC = {
    "ORDER": {
        "model": "oddshop.Purchase",
        "reference": "number",
        "status": "stage",
        "currency": "currency",
        "placed_at": "bought_at",
        "cart_key": "basket",
        "visit_id": "visit",
        "call_id": "call",
        "agent": "operator",
        "lines": {
            "relation": "things",
            "product_id": "article.sku",
            "name": "title",
            "quantity": "pieces",
            "total": "paid",
            "details": "extra",
        },
        "related": ["things", "address"],
    },
    "CART": {
        "model": "oddshop.Trolley",
        "currency": {"value": "EUR"},
        "is_open": lambda trolley: trolley.merged_into_id is None,
        "is_logged_in": "account",
        "lines": {
            "relation": "loads",
            "product_id": "article.sku",
            "name": "title",
            "quantity": "pieces",
            "unit_price": lambda load: Decimal(load.cents).scaleb(-2),
        },
        "related": ["loads"],
    },
    "ENCRYPTION_KEYS": ["b3B0aWNvLXN5bmMtdGVzdHMta2V5LW51bWJlci0wMDE="],
    "QUIET_PERIOD": 0,
    "CART_QUIET_PERIOD": 0,
    "ALLOWED_NETWORKS": ["127.0.0.0/8"],
    "LEASE": env.float("OPTICO_TEST_LEASE", default=60.0),
    "ENGINE": env("OPTICO_TEST_ENGINE", default="embedded"),
}
