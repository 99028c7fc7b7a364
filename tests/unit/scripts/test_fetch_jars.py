"""Tests for ``scripts.fetch_jars``."""

from __future__ import annotations

import hashlib
import shutil
import ssl
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from marketlake.errors import DataError, UnavailableError
from marketlake.java import JARS_FOLDER, Jar, java_home, locked_jars
from scripts import fetch_jars


def jar_of(content: bytes) -> Jar:
    return Jar("org.example", "thing", "1.0", hashlib.sha256(content).hexdigest())


def ivy_that_brings(content: bytes | None, *, says: str = "", code: int = 0):
    def run(command: list[object]) -> subprocess.CompletedProcess[str]:
        pattern = Path(str(command[command.index("-retrieve") + 1]))
        if content is not None:
            (pattern.parent / "thing-1.0.jar").write_bytes(content)
        return subprocess.CompletedProcess([], code, stdout=says)

    return run


def test_ivy_is_asked_for_exact_versions_without_dependencies() -> None:
    module = ElementTree.fromstring(fetch_jars.ivy_module(locked_jars()))

    asked = [(d.get("org"), d.get("name"), d.get("rev"), d.get("transitive")) for d in module.iter("dependency")]
    assert asked == [(jar.group, jar.artifact, jar.version, "false") for jar in locked_jars()]


def test_jar_with_the_locked_checksum_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_jars, "_run", ivy_that_brings(b"right"))

    fetch_jars.fetch([jar_of(b"right")], tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["thing-1.0.jar"]


@pytest.mark.parametrize("came", [b"wrong", None])
def test_jar_with_another_checksum_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, came: bytes | None
) -> None:
    monkeypatch.setattr(fetch_jars, "_run", ivy_that_brings(came))

    with pytest.raises(DataError, match=r"thing-1\.0\.jar must have sha256 .* repeat make setup"):
        fetch_jars.fetch([jar_of(b"right")], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unreachable_repository_is_one_error_with_ivys_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says = ":: resolving\n  Server access error (java.net.UnknownHostException)\n"
    monkeypatch.setattr(fetch_jars, "_run", ivy_that_brings(None, says=says, code=1))

    with pytest.raises(UnavailableError, match=r"(?s)could not be fetched.*UnknownHostException.*mend the network"):
        fetch_jars.fetch([jar_of(b"right")], tmp_path)


def test_damaged_or_missing_jar_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = locked_jars()[:2]
    shutil.copy(JARS_FOLDER / one.file_name, tmp_path / one.file_name)
    (tmp_path / two.file_name).write_bytes(b"half")

    assert fetch_jars.missing_jars(tmp_path) == [two, *locked_jars()[2:]]


def test_java_reads_the_trust_store_made_of_the_machines_certificates(tmp_path: Path) -> None:
    bundle = fetch_jars._pem_bundle()
    if bundle is None:
        pytest.skip("this machine has no bundle of certificates")
    store = tmp_path / "trust.jks"
    store.write_bytes(fetch_jars.trust_store(bundle))
    source = tmp_path / "Count.java"
    source.write_text(
        "import java.security.*; import java.io.*;\n"
        "public class Count { public static void main(String[] a) throws Exception {\n"
        '  KeyStore s = KeyStore.getInstance("JKS"); s.load(new FileInputStream(a[0]), "changeit".toCharArray());\n'
        "  System.out.println(s.size()); } }\n"
    )
    done = subprocess.run([java_home() / "bin" / "java", source, store], capture_output=True, text=True, timeout=120)
    if "jdk.compiler" in done.stderr:
        pytest.skip("this Java has no compiler to run the reader with")

    assert done.stdout.strip() == str(len(ssl.create_default_context(cafile=str(bundle)).get_ca_certs()))
