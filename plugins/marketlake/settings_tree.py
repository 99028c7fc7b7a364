"""What the settings file and the environment say, as one tree of texts and numbers, before it is typed.

Owns finding and reading the file, replacing `${NAME}`, and laying variables over it; knows no key by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from marketlake.errors import ConfigError

PREFIX = "MARKETLAKE__"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def config_path(config_file: str | Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the settings file: the one that is named, else the shipped folder's own, else None.

    Raises:
        ConfigError: the named file is not there.
    """
    chosen = config_file or environ.get("CONFIG_FILE")
    if chosen:
        path = Path(chosen)
        if not path.is_file():
            raise ConfigError(f"CONFIG_FILE names {str(chosen)!r}, which is not a file; start from config/local.yaml")
        return path
    folder = Path(__file__).resolve().parents[2] / "config"
    return next((p for p in (folder / "config.local.yaml", folder / "local.yaml") if p.is_file()), None)


def read_file(path: Path, environ: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    """Return the file's tree with `${NAME}` replaced; unset variables are added to the problems.

    Raises:
        ConfigError: it is not YAML, or holds no sections.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not readable YAML: {error}") from None
    if not isinstance(tree, dict | None):
        raise ConfigError(f"{path} must hold sections like 'database:'; it holds {type(tree).__name__}")
    return dict(_with_variables(tree or {}, environ, problems, at=""))


def lay_over(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both trees as one; where both have a value, that of `above` counts."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = lay_over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def put_variables(
    tree: dict[str, Any], environ: Mapping[str, str], short_names: Mapping[str, str], problems: list[str]
) -> None:
    """Set the keys that the environment names: the short names first, then `MARKETLAKE__SECTION__KEY` over them."""
    for name, dotted in short_names.items():
        if environ.get(name):
            _put(tree, dotted.split("."), environ[name], name, problems)
    for name in sorted(environ):
        if name.startswith(PREFIX):
            _put(tree, name.removeprefix(PREFIX).lower().split("__"), environ[name], name, problems)


def _with_variables(tree: Any, environ: Mapping[str, str], problems: list[str], *, at: str) -> Any:
    if isinstance(tree, dict):
        return {
            key: _with_variables(value, environ, problems, at=f"{at}.{key}" if at else str(key))
            for key, value in tree.items()
        }
    if isinstance(tree, list):
        return [_with_variables(value, environ, problems, at=at) for value in tree]
    if not isinstance(tree, str):
        return tree
    for name in _VARIABLE.findall(tree):
        if name not in environ:
            problems.append(f"- {at}: the variable {name} is not set")
    return _VARIABLE.sub(lambda match: environ.get(match[1], ""), tree)


def _put(tree: dict[str, Any], keys: list[str], text: str, variable: str, problems: list[str]) -> None:
    *sections, last = keys
    for key in sections:
        below = tree.setdefault(key, {})
        if not isinstance(below, dict):
            problems.append(f"- {variable}: {key} is not a section")
            return
        tree = below
    tree[last] = _value(text)


def _value(text: str) -> Any:
    if text.startswith(("[", "{")):
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    return None if text == "null" else text
