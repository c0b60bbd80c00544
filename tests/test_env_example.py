"""`.env.example` holds every setting of its service, and the lists it is made of are fresh."""

from __future__ import annotations

import pytest

from scripts.env_example import ENV, blocks
from tests.rendering import Template

PRESETS = ("minimal", "standard", "full")


def test_the_lists_are_what_the_payload_says() -> None:
    """If this fails, run `.venv/bin/python -m scripts.env_example`."""
    written = {path.stem: path.read_text(encoding="utf-8") for path in ENV.glob("*.env")}

    assert written == blocks()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_service_has_what_its_own_command_prints(template: Template, preset: str) -> None:
    service = template.service({"preset": preset})
    example = (service.folder / ".env.example").read_text(encoding="utf-8")

    printed = service.python("-m", "app", "env", "--dotenv")

    assert example.partition("\n\n")[2] == printed


def test_uncommenting_every_line_changes_nothing(template: Template) -> None:
    """Each line is a default as the settings read it."""
    service = template.service({"preset": "full"})
    example = (service.folder / ".env.example").read_text(encoding="utf-8")
    lines = [line[1:] for line in example.splitlines() if line[:1] == "#" and line[1:2].isupper()]
    dotenv = service.folder.parent / "uncommented.env"
    dotenv.write_text("\n".join(lines), encoding="utf-8")
    show = (
        "from app.core.discovery import discover; from app.core.settings import load_settings;"
        "print([repr(s) for s in load_settings(discover().modules)])"
    )

    bare = service.python("-c", show, APP_ENV_FILE="")

    assert service.python("-c", show, APP_ENV_FILE=str(dotenv)) == bare
