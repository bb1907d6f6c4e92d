"""Nothing in the repository names the machine it was written on, or a package index of its own."""

import re

import pytest
from repository import MAX_TEXT_BYTES, ROOT, files

MACHINE_PATHS = re.compile(r"(?<![\w.~-])/(?:work|root|Users/\w+|home/\w+|tmp/[\w.-]+)/[\w./-]*")
"""Absolute paths of somebody's machine; a path within a container or a package is none."""

ALLOWED_PATHS = re.compile(r"^/home/(?:scaler|app|nonroot)/")
URL_HOSTS = re.compile(r"https?://([\w.-]+)")
PUBLIC_INDEX = {"pypi.org", "files.pythonhosted.org"}


def texts() -> list[tuple[str, str]]:
    found = []
    for path in files():
        if path.stat().st_size > MAX_TEXT_BYTES or path.name == "uv.lock":
            continue
        try:
            found.append((str(path.relative_to(ROOT)), path.read_text()))
        except UnicodeDecodeError:
            continue  # a picture
    return found


def test_no_file_names_a_path_of_a_machine():
    found = [
        f"{name}: {match[0]}"
        for name, text in texts()
        if not name.startswith("tests/meta/")
        for match in MACHINE_PATHS.finditer(text)
        if not ALLOWED_PATHS.match(match[0])
    ]

    assert found == []


def test_the_lock_names_the_public_index_only():
    hosts = set(URL_HOSTS.findall((ROOT / "uv.lock").read_text()))

    assert hosts <= PUBLIC_INDEX


@pytest.mark.parametrize("name", ["pyproject.toml", "Makefile", "Dockerfile", ".ci/run"])
def test_no_index_is_configured(name: str):
    text = (ROOT / name).read_text()

    for word in ("index-url", "index_url", "extra-index", "find-links", "[[tool.uv.index]]"):
        assert word not in text


def test_the_pattern_finds_what_it_should():
    assert MACHINE_PATHS.search("see /root/" + "main/x.py")
    assert MACHINE_PATHS.search('open("/home/' + 'jane/x")')
    assert not MACHINE_PATHS.search("https://example.org/home/jane/x")
    assert not MACHINE_PATHS.search("/etc/ascension/config.yaml")
