"""A cron for tests: runs the periodic round every two seconds, in one process to spare a small machine."""

import time

import django
from django.core.management import call_command

if __name__ == "__main__":
    django.setup()
    while True:
        call_command("optico_round")
        time.sleep(2)
