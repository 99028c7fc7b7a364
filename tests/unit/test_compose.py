"""Tests for `docker/`: what a container deployment promises and can be read from its files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE = REPOSITORY / "docker" / "compose.yaml"


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"])


def test_every_port_is_bound_to_the_loopback_address(services: dict[str, dict[str, Any]]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]

    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_every_lasting_service_has_a_health_check(services: dict[str, dict[str, Any]]) -> None:
    assert [name for name, one in services.items() if one["restart"] != "no" and "healthcheck" not in one] == []


def test_postgres_answers_to_the_name_timescaledb_too_and_needs_nothing_else(
    services: dict[str, dict[str, Any]],
) -> None:
    assert services["postgres"]["networks"]["default"]["aliases"] == ["timescaledb"]
    assert "depends_on" not in services["postgres"]


def test_passwords_come_from_the_environment_alone() -> None:
    lines = COMPOSE.read_text(encoding="utf-8").splitlines()
    secret = [line for line in lines if re.search(r"(?:PASSWORD|SECRET)\w*:", line)]

    assert secret
    assert [line for line in secret if not re.search(r": \$\{\w+:\?set \w+ in \.env\}$", line)] == []
    for name in re.findall(r"\$\{(\w+)", COMPOSE.read_text(encoding="utf-8")):
        assert re.search(rf"^#?{name}=", (REPOSITORY / ".env.example").read_text(encoding="utf-8"), re.MULTILINE), name


@pytest.mark.parametrize("dockerfile", sorted(path.parent.name for path in COMPOSE.parent.glob("*/Dockerfile")))
def test_image_runs_as_a_user_of_its_own_from_pinned_parts(dockerfile: str) -> None:
    text = (COMPOSE.parent / dockerfile / "Dockerfile").read_text(encoding="utf-8")

    assert re.search(r"^USER (?!root)\w+", text, re.MULTILINE)
    assert "HEALTHCHECK" in text
    assert "org.opencontainers.image.revision" in text
    assert all(":" in image and ":latest" not in image for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    for source in re.findall(r"^COPY (?!--from)(\S+) ", text, re.MULTILINE):
        assert (REPOSITORY / source).exists(), source
