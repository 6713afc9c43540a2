"""The `.env` that ``make demo`` writes."""

import re
from pathlib import Path

from cryptography.fernet import Fernet

from shop_demo import env_file

SETTINGS = (env_file.ROOT / "shop_demo" / "settings.py").read_text(encoding="utf-8")


def read(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def copy_example(root: Path) -> Path:
    text = (env_file.ROOT / ".env.example").read_text(encoding="utf-8")
    (root / ".env.example").write_text(text, encoding="utf-8")
    return root


def test_write_makes_fresh_keys(tmp_path: Path) -> None:
    assert env_file.write(copy_example(tmp_path))
    values = read(tmp_path / ".env")
    assert len(values["SECRET_KEY"]) >= 50
    assert Fernet(values["OPTICO_ENCRYPTION_KEYS"])
    assert env_file.fill("SECRET_KEY=") != env_file.fill("SECRET_KEY=")


def test_write_is_for_the_owners_eyes(tmp_path: Path) -> None:
    env_file.write(copy_example(tmp_path))
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0


def test_write_leaves_an_existing_file_alone(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SECRET_KEY=mine\n")
    assert not env_file.write(copy_example(tmp_path))
    assert (tmp_path / ".env").read_text() == "SECRET_KEY=mine\n"


def test_the_example_has_every_key_and_no_other() -> None:
    asked = set(re.findall(r'env\.\w+\(\s*"(\w+)"', SETTINGS))
    assert set(read(env_file.ROOT / ".env.example")) == asked


def test_every_key_of_the_example_has_a_comment() -> None:
    blocks = (env_file.ROOT / ".env.example").read_text(encoding="utf-8").split("\n\n")[1:]
    assert all(block.startswith("# ") for block in blocks)
