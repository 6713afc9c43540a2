"""`python -m optico_sync.sandbox`: the sandbox on its own, without a project or a database."""

import argparse
import logging
import signal
import sys
from typing import Any, NoReturn

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application

from optico_sync.sandbox.ledger import DEFAULT_KEYS, DEFAULT_STATUSES, JOURNAL_LENGTH, Config, ledger
from optico_sync.sandbox.server import Server


def main(argv: list[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    configure(verbose=options.verbose)

    # Loaded now, so that the first request is not slow; not before, since it reads settings while loading.
    from optico_sync.sandbox import urls  # noqa: F401, PLC0415

    ledger.start_with(
        Config(
            keys=frozenset(options.keys or DEFAULT_KEYS),
            statuses=dict(options.statuses or DEFAULT_STATUSES),
        ),
        seed=options.seed,
        journal_length=options.journal_length,
    )
    try:
        server = Server(options.host, options.port, get_wsgi_application())
    except OSError as exc:
        sys.stderr.write(f"Cannot listen on {options.host} port {options.port}: {exc.strerror or exc}\n")
        return 2
    with server:
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, stop)
        sys.stdout.write(f"Sandbox listening on {server.url}\n")
        sys.stdout.flush()
        server.serve_forever()
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m optico_sync.sandbox", description="Plays the vendors' servers.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001, help="0 takes a free one")
    parser.add_argument("--key", action="append", dest="keys", metavar="KEY", help="a Customer API key to accept")
    parser.add_argument(
        "--status",
        action="append",
        dest="statuses",
        type=read_status,
        metavar="NAME[:sale]",
        help="a declared order status; replaces the usual six",
    )
    parser.add_argument("--seed", type=int, help="makes faults by probability repeatable")
    parser.add_argument("--journal-length", type=int, default=JOURNAL_LENGTH, metavar="N", help="requests to remember")
    parser.add_argument("--verbose", action="store_true", help="log each request to stderr")
    return parser


def read_status(text: str) -> tuple[str, bool]:
    name, _, flag = text.partition(":")
    if not name or flag not in ("", "sale"):
        raise argparse.ArgumentTypeError("write NAME, or NAME:sale")
    return name, flag == "sale"


def configure(*, verbose: bool) -> None:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATA_UPLOAD_MAX_MEMORY_SIZE=None,
        DATA_UPLOAD_MAX_NUMBER_FIELDS=None,
        INSTALLED_APPS=["rest_framework", "optico_sync.sandbox"],
        LOGGING=build_logging(verbose=verbose),
        MIDDLEWARE=[],
        REST_FRAMEWORK={"UNAUTHENTICATED_USER": None},
        ROOT_URLCONF="optico_sync.sandbox.urls",
        STATIC_URL="/sandbox/static/",
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        TIME_ZONE="UTC",
        USE_I18N=False,
        USE_TZ=True,
    )
    django.setup()


def build_logging(*, verbose: bool) -> dict[str, Any]:
    """Tracebacks always; a line for each request on demand. Django's own warnings of 4xx and 5xx are noise here."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"bugs": {"()": "django.utils.log.CallbackFilter", "callback": is_bug}},
        "handlers": {
            "bugs": {"class": "logging.StreamHandler", "filters": ["bugs"]},
            "all": {"class": "logging.StreamHandler"},
        },
        "loggers": {
            "django": {"handlers": ["bugs"], "level": "INFO", "propagate": False},
            "optico_sync.sandbox": {"handlers": ["all"], "level": "INFO" if verbose else "ERROR", "propagate": False},
        },
    }


def is_bug(record: logging.LogRecord) -> bool:
    return bool(record.exc_info)


def stop(signum: int, frame: Any) -> NoReturn:
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
