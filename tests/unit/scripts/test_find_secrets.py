"""Tests for ``scripts.find_secrets``. The samples are put together here, so that the scan does not find this file."""

from __future__ import annotations

import pytest

from scripts.find_secrets import findings_in


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("-----BEGIN RSA " + "PRIVATE KEY-----", id="private key"),
        pytest.param("aws = " + "AKIA" + "ABCDEFGHIJKLMNOP", id="AWS key"),
        pytest.param("token: " + "ghp_" + "a1" * 18, id="GitHub token"),
        pytest.param("https://hooks.slack" + ".com/services/T012/B345/abcdef", id="Slack webhook"),
        pytest.param("postgresql://user:" + "hunter22" + "@db.example/prod", id="password in an address"),
        pytest.param("api_key = '" + "0123456789abcdef0123" + "'", id="long key"),
        pytest.param("--index-url" + " https://mirror.example/simple", id="index address"),
        pytest.param("open('/home" + "/someone/data.csv')", id="path of one machine"),
    ],
)
def test_secret_is_found_with_its_line(line: str) -> None:
    assert [number for number, _ in findings_in(f"first\n{line}\n")] == [2]
    assert list(findings_in(f"{line}  # not a secret: a sample")) == []


@pytest.mark.parametrize(
    "line",
    [
        "password: ${DB_PASSWORD}",
        'f"postgresql://{user}:{password}@{self.host}"',
        "postgresql://postgres:postgres@localhost/bitcoin_db",
        "https://api.binance.com/api/v3/klines",
        "    --hash=sha256:87673ba80e2704c8ec64755f06c3cc4b1c6f60bc3c6f6f92fb8a1c26d9a8c9a8",
    ],
)
def test_placeholder_is_not_taken_for_a_secret(line: str) -> None:
    assert list(findings_in(line)) == []
