"""The stored form of the suites, for readers that are not Python: one JSON file each, under shipped settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from expectations.suites import SUITES, suite_named

FOLDER = Path(__file__).parent


def stored_path(name: str) -> Path:
    """Return the file of a suite."""
    return FOLDER / f"{name}.json"


def suite_text(name: str) -> str:
    """Return the JSON text of a suite: name and expectations, without ids and versions."""
    tree: dict[str, Any] = dict(suite_named(name).to_json_dict())
    expectations = [_stable(expectation) for expectation in tree["expectations"]]
    return json.dumps({"name": name, "expectations": expectations}, indent=2, sort_keys=True) + "\n"


def _stable(expectation: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in expectation.items() if key != "id" and value is not None}


def main() -> None:
    for name in SUITES:
        stored_path(name).write_text(suite_text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
