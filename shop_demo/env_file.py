"""`python -m shop_demo.env_file`: write `.env` from `.env.example`, with fresh keys. An existing file is left alone."""

import base64
import os
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def fill(example: str) -> str:
    """``example`` with a random value for each key that must be secret and is still empty."""
    fresh = {
        "SECRET_KEY": secrets.token_urlsafe(48),
        # A Fernet key: 32 random bytes in URL-safe base64.
        "OPTICO_ENCRYPTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }
    lines = [line + fresh.get(line[:-1], "") if line.endswith("=") else line for line in example.splitlines()]
    return "\n".join(lines) + "\n"


def write(root: Path) -> bool:
    """Write the file, readable by its owner only. False when there is one already."""
    text = fill((root / ".env.example").read_text(encoding="utf-8"))
    try:
        descriptor = os.open(root / ".env", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return True


if __name__ == "__main__":
    if write(ROOT):
        sys.stdout.write("Wrote .env with fresh keys.\n")
