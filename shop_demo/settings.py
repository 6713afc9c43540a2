"""The demo shop's settings. Everything that differs between machines comes from the environment or from ``.env``."""

from pathlib import Path
from typing import Any

import django
import environ
from django.core.management.utils import get_random_secret_key

from shop_demo import reading

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
# The environment wins over the file, so that `make demo SANDBOX_PORT=...` can have its way.
if (BASE_DIR / ".env").is_file():
    env.read_env(BASE_DIR / ".env")
# django-environ knows MariaDB only by its sibling's name.
environ.Env.DB_SCHEMES["mariadb"] = environ.Env.DB_SCHEMES["mysql"]


def build_database() -> dict[str, Any]:
    """The database of ``DATABASE_URL``, with the options that Django leaves to the project."""
    database: dict[str, Any] = env.db_url("DATABASE_URL", default="sqlite:///var/demo.sqlite3")
    given = database.pop("OPTIONS", {})
    options: dict[str, Any] = {}
    if database["ENGINE"].endswith("sqlite3"):
        # A transaction that starts as a reader and then writes fails at once under load; an immediate one waits.
        options = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
        if database["NAME"] != ":memory:":
            file = BASE_DIR / database["NAME"]
            file.parent.mkdir(parents=True, exist_ok=True)
            database["NAME"] = file
    elif database["ENGINE"].endswith("mysql"):
        options = {"charset": "utf8mb4"}
    max_age = env.int("CONN_MAX_AGE", default=60)
    return {"CONN_MAX_AGE": max_age, "CONN_HEALTH_CHECKS": True, **database, "OPTIONS": {**options, **given}}


# Without a key, one for this process only: safe, but sessions end with it.
SECRET_KEY = env.str("SECRET_KEY", default="") or get_random_secret_key()
DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "optico_sync",
    "shop_demo",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "optico_sync.middleware.VisitMiddleware",
]

ROOT_URLCONF = "shop_demo.urls"
WSGI_APPLICATION = "shop_demo.wsgi.application"

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
            ],
        },
    },
]

DATABASES = {"default": build_database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "admin:login"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("fr", "Français")]
TIME_ZONE = env.str("TIME_ZONE", default="Europe/Paris")
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "var" / "static"

# Alerts of the demo are printed by its worker. Before Django 6.1 the setting has another name.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.console.EmailBackend"}}
if django.VERSION < (6, 1):
    EMAIL_BACKEND = MAILERS["default"]["BACKEND"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {"optico_sync": {"handlers": ["console"], "level": "INFO"}},
}

#: Where the pretended vendor answers; it also has a page that shows what it received.
SANDBOX_URL = env.str("SANDBOX_URL", default="http://127.0.0.1:8001").rstrip("/")

OPTICO_SYNC = {
    "ORDER": {
        "model": "shop_demo.Order",
        "reference": "number",
        "status": "status",
        "currency": "currency",
        "placed_at": "placed_at",
        "total": "total",
        "shipping": "shipping_price",
        "tax": reading.tax,
        "is_offline": reading.is_phone_order,
        "channel": reading.channel,
        "store": {"value": "shop.example"},
        "customer": {"email": "email", "first_name": reading.first_name, "last_name": reading.last_name},
        "cart_key": "cart_id",
        "call_id": "call_id",
        "agent": "agent",
        "lines": {
            "relation": "lines",
            "product_id": "sku",
            "name": "title",
            "quantity": "quantity",
            "total": "line_total",
            "tax": reading.line_tax,
            "sku": "sku",
            "product_key": "product_id",
        },
        "related": ["lines"],
    },
    "CART": {
        "model": "shop_demo.Cart",
        "currency": {"value": "EUR"},
        "lines": {
            "relation": "lines",
            "product_id": "product.sku",
            "name": "product.title",
            "quantity": "quantity",
            "unit_price": "product.price",
            "sku": "product.sku",
            "product_key": "product_id",
        },
        "related": ["lines"],
    },
    "ENCRYPTION_KEYS": env.list("OPTICO_ENCRYPTION_KEYS", default=[]),
    "QUIET_PERIOD": env.float("OPTICO_QUIET_PERIOD", default=5.0),
    "CART_QUIET_PERIOD": env.float("OPTICO_CART_QUIET_PERIOD", default=2.0),
    "INSTALLATION": env.str("OPTICO_INSTALLATION", default="demo"),
    "ALLOWED_NETWORKS": env.list("OPTICO_ALLOWED_NETWORKS", default=[]),
}
