"""Fetch Spark's extra jars by their lock file into `.jars/`, each checked against its SHA-256.

pyspark ships Ivy, so neither Maven nor a Spark start is needed. Jars are written aside and renamed; complete ones are
left alone. Variables: `IVY_SETTINGS` names an Ivy settings file for those who use a mirror; `HTTPS_PROXY` and
`SSL_CERT_FILE` count as they do for Python.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from xml.sax.saxutils import quoteattr

import pyspark

from marketlake.errors import DataError, MarketlakeError, UnavailableError
from marketlake.java import JARS_FOLDER, Jar, java_home, locked_jars

_TRUST_STORE_PASSWORD = "changeit"  # the fixed word of Java's own public trust stores, not a secret


def ivy_module(wanted: Sequence[Jar]) -> str:
    """Return the Ivy file that asks for exactly these jars and none of their dependencies."""
    lines = [
        f"    <dependency org={quoteattr(jar.group)} name={quoteattr(jar.artifact)} rev={quoteattr(jar.version)}"
        ' transitive="false" conf="default->master"/>'
        for jar in wanted
    ]
    return "\n".join(
        [
            '<ivy-module version="2.0">',
            '  <info organisation="marketlake" module="jars"/>',
            '  <configurations><conf name="default"/></configurations>',
            "  <dependencies>",
            *lines,
            "  </dependencies>",
            "</ivy-module>",
            "",
        ]
    )


def missing_jars(folder: Path) -> list[Jar]:
    """Return the locked jars that the folder lacks or holds with other bytes."""
    return [jar for jar in locked_jars() if not _is_right(folder / jar.file_name, jar)]


def fetch(wanted: Sequence[Jar], folder: Path) -> None:
    """Fetch the jars into the folder.

    Raises:
        UnavailableError: the repository does not answer; Ivy's last lines are quoted.
        DataError: what came has another checksum than the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as name:
        work = Path(name)
        (work / "ivy.xml").write_text(ivy_module(wanted), encoding="utf-8")
        _run_ivy(work)
        for jar in wanted:
            came = work / jar.file_name
            if not _is_right(came, jar):
                raise DataError(
                    f"{jar.file_name} must have sha256 {jar.sha256} (spark_jobs/jars.lock); "
                    f"what came has {_sha256(came) if came.is_file() else 'not arrived'}; repeat make setup"
                )
            came.rename(folder / jar.file_name)


def trust_store(pem_bundle: Path) -> bytes:
    """Return the certificates of a PEM bundle as a Java key store (JKS), which is what Java can be told to trust."""
    certificates = ssl.create_default_context(cafile=str(pem_bundle)).get_ca_certs(binary_form=True)
    parts = [struct.pack(">IIi", 0xFEEDFEED, 2, len(certificates))]
    for position, certificate in enumerate(certificates):
        alias, kind = f"ca{position}".encode(), b"X.509"
        parts.append(struct.pack(">iH", 2, len(alias)) + alias + struct.pack(">q", 0))
        parts.append(struct.pack(">H", len(kind)) + kind + struct.pack(">i", len(certificate)) + certificate)
    body = b"".join(parts)
    seal = hashlib.sha1(_TRUST_STORE_PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + body, usedforsecurity=False)
    return body + seal.digest()


def _is_right(path: Path, jar: Jar) -> bool:
    return path.is_file() and _sha256(path) == jar.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _run_ivy(work: Path) -> None:
    ivy = next(Path(pyspark.__file__).parent.glob("jars/ivy-*.jar"))
    tail = ["-jar", ivy, "-ivy", work / "ivy.xml", "-cache", work / "cache", "-warn"]
    tail += ["-retrieve", work / "[artifact]-[revision].[ext]"]
    if os.environ.get("IVY_SETTINGS"):
        tail += ["-settings", os.environ["IVY_SETTINGS"]]
    java = [java_home() / "bin" / "java", *_proxy_options()]
    done = _run([*java, *tail])
    bundle = _pem_bundle()
    if done.returncode and "PKIX path" in done.stdout and bundle is not None:
        # The network's own certificate is known to this machine, but not to this Java.
        store = work / "trust.jks"
        store.write_bytes(trust_store(bundle))
        trust = [f"-Djavax.net.ssl.trustStore={store}", f"-Djavax.net.ssl.trustStorePassword={_TRUST_STORE_PASSWORD}"]
        done = _run([*java, *trust, *tail])
    if done.returncode:
        last = [line for line in done.stdout.splitlines() if line.strip(" \t:")][-6:]
        raise UnavailableError(
            "\n".join(
                [
                    "the jars of spark_jobs/jars.lock could not be fetched from the Maven repository:",
                    *last,
                    "mend the network (HTTPS_PROXY, SSL_CERT_FILE and IVY_SETTINGS count) and repeat make setup",
                ]
            )
        )


def _run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)


def _pem_bundle() -> Path | None:
    paths = ssl.get_default_verify_paths()
    known = (paths.cafile, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
    return next((Path(path) for path in known if path and Path(path).is_file()), None)


def _proxy_options() -> list[str]:
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    address = urlsplit(proxy) if proxy else None
    if address is None or not address.hostname:
        return []
    return [f"-Dhttps.proxyHost={address.hostname}", f"-Dhttps.proxyPort={address.port or 80}"]


def main() -> int:
    try:
        wanted = missing_jars(JARS_FOLDER)
        if wanted:
            fetch(wanted, JARS_FOLDER)
    except MarketlakeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    locked = {jar.file_name for jar in locked_jars()}
    for other in JARS_FOLDER.iterdir():
        if other.suffix == ".jar" and other.name not in locked:
            other.unlink()
        elif other.name.startswith(".fetching-"):
            shutil.rmtree(other, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
