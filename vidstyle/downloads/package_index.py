"""Downloads one pinned file from pip's configured package indexes, without running any code of it.

`pip download` prepares the metadata of a source archive, for which it fetches and runs build
requirements. Here pip only reports its configuration; the file is found on the pages of the indexes
(PEP 503, PEP 691) and checked against its size and sha256.
"""

import ast
import base64
import hashlib
import json
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib import request
from urllib.error import URLError
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

__all__ = ["FetchError", "Pinned", "download", "verified"]

_ACCEPT = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, "
    "text/html;q=0.01"
)
_PAGE = 16 << 20  # bytes of an index page, at most
_BLOCK = 1 << 18  # bytes read at a time
_TIMEOUT = 15.0  # seconds without an answer, unless pip is configured otherwise
_PATIENCE = 60  # seconds for pip to say how it is configured


class FetchError(Exception):
    """The file cannot be fetched; the message is the reason, without a final period."""


@dataclass(frozen=True)
class Pinned:
    """A file of a project on an index: its name, its size in bytes and its sha256 in hex."""

    project: str
    name: str
    size: int
    sha256: str


def download(file: Pinned, folder: Path, progress: Callable[[int, int], None] | None) -> Path:
    """Fetch a file into `folder` and return its path.

    progress(bytes received, bytes in all) is called after each block. Raises FetchError, or OSError
    if `folder` cannot be written.
    """
    options = _pip_options()
    opener = _opener(options)
    timeout = float(options.get("default-timeout") or options.get("timeout") or _TIMEOUT)
    reasons = []
    for page in _pages(options, file):
        try:
            url = _link_on(page, file, opener, timeout)
            if url is not None:
                content = opener.open(_asked(url), timeout=timeout)
                return _saved(content, file, folder, progress)
            reasons.append(f"{_shown(page)} does not list {file.name}")
        except (FetchError, ValueError, KeyError, TypeError, HTTPException) as error:
            reasons.append(f"{_shown(page)}: {error}")
        except OSError as error:  # URLError is one, with a reason
            if not isinstance(error, URLError) and error.filename is not None:
                raise
            reasons.append(f"{_shown(page)}: {getattr(error, 'reason', None) or error}")
    raise FetchError("; ".join(reasons) or "pip is configured to use no index (no-index)")


def _pip_options() -> dict[str, str]:
    """Return pip's options as configured in files and the environment, and its default index."""
    found: dict[str, str] = {}
    sections: dict[str, dict[str, str]] = {}
    for line in _pip("config", "list").splitlines():
        section, _, rest = line.rpartition("=")[0].rpartition(".")
        value = line[len(section) + len(rest) + 2 :]
        with suppress(ValueError, SyntaxError):
            sections.setdefault(section, {})[rest] = str(ast.literal_eval(value))
    for section in ("global", "download", ":env:"):  # the last one takes precedence in pip
        found |= sections.get(section, {})
    if "index-url" not in found:
        printed = re.search(r"\(default\s+(https?://\S+?)\)", _pip("download", "--help"))
        found["index-url"] = printed[1] if printed else ""
    return found


def _pip(*words: str) -> str:
    command = [sys.executable, "-m", "pip", *words, "--disable-pip-version-check"]
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, timeout=_PATIENCE, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise FetchError(f"Python's pip cannot be started ({error})") from error
    said = done.stderr.decode("utf-8", "replace")
    if "No module named pip" in said:
        raise FetchError(f"{sys.executable} has no pip")
    if done.returncode != 0:
        raise FetchError(f"pip says '{' '.join(said.split())[-200:]}'")
    return done.stdout.decode("utf-8", "replace")


def _pages(options: dict[str, str], file: Pinned) -> Iterator[str]:
    """Yield the URL of every page or folder that may list the file; local ones first."""
    for place in options.get("find-links", "").split():
        yield place if _has_scheme(place) else Path(place).expanduser().absolute().as_uri()
    if options.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        return
    indexes = [*options.get("extra-index-url", "").split(), *options["index-url"].split()]
    for index in sorted(indexes, key=lambda index: not index.startswith("file:")):
        base = index if _has_scheme(index) else Path(index).expanduser().absolute().as_uri()
        yield f"{base.rstrip('/')}/{file.project}/"


def _has_scheme(place: str) -> bool:
    return place.startswith(("http://", "https://", "file:"))


def _link_on(page: str, file: Pinned, opener: Any, timeout: float) -> str | None:
    """Return the file's URL if a page or a folder lists it, else None."""
    if page.startswith("file:"):
        folder = Path(request.url2pathname(urlsplit(page).path))
        if folder.is_dir() and (folder / file.name).is_file():
            return (folder / file.name).as_uri()
        if folder.is_dir():
            page = (folder / "index.html").as_uri()
    with opener.open(_asked(page), timeout=timeout) as answer:
        text, kind = answer.read(_PAGE), answer.headers.get("Content-Type", "")
        base = answer.url or page
    links = _of_json(text) if "json" in kind else _of_html(text.decode("utf-8", "replace"))
    for link in links:
        url = urljoin(base, link)
        if unquote(urlsplit(url).path).rpartition("/")[2] == file.name and _has_scheme(url):
            if url.startswith("file:") and not page.startswith("file:"):
                raise FetchError("it names a file of this machine")
            return _with_login(url, page)
    return None


def _of_json(text: bytes) -> list[str]:
    listed = json.loads(text)
    return [str(entry["url"]) for entry in listed["files"]]


def _of_html(text: str) -> list[str]:
    links: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "a":
                links.extend(value for name, value in attrs if name == "href" and value)

    Links().feed(text)
    return links


def _with_login(url: str, page: str) -> str:
    """Return the URL of a file with the login of the page's URL, if both have the same host."""
    parts, own = urlsplit(url), urlsplit(page)
    if parts.hostname != own.hostname or "@" not in own.netloc or "@" in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=f"{own.netloc.rpartition('@')[0]}@{parts.netloc}"))


def _asked(url: str) -> request.Request:
    """Return a request; a login in the URL is moved into a header."""
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    found = request.Request(urlunsplit(parts._replace(netloc=host)), headers={"Accept": _ACCEPT})
    if login:
        coded = base64.b64encode(unquote(login).encode()).decode()
        found.add_unredirected_header("Authorization", f"Basic {coded}")
    return found


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _opener(options: dict[str, str]) -> Any:
    """Return an opener of URLs with pip's certificates and proxy."""
    context = ssl.create_default_context()
    with suppress(ImportError, OSError):
        import certifi  # used by pip; some installations of Python have no certificates

        context.load_verify_locations(certifi.where())
    if options.get("cert"):
        context.load_verify_locations(options["cert"])
    handlers: list[Any] = [request.HTTPSHandler(context=context)]
    if proxy := options.get("proxy"):
        handlers.append(request.ProxyHandler({"http": proxy, "https": proxy}))
    return request.build_opener(*handlers)


def _saved(
    content: Any, file: Pinned, folder: Path, progress: Callable[[int, int], None] | None
) -> Path:
    """Write the content to `folder`; raise FetchError if its size or sha256 differs."""
    path, found, done = folder / file.name, hashlib.sha256(), 0
    with content, path.open("wb") as out:
        while block := content.read(_BLOCK):
            done += len(block)
            if done > file.size:
                break
            found.update(block)
            out.write(block)
            if progress is not None:
                progress(done, file.size)
    _check(path, done, found.hexdigest(), file)
    return path


def verified(path: Path, file: Pinned) -> Path:
    """Return `path` if it has the size and the sha256 of `file`; else delete it.

    Raises FetchError.
    """
    with path.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    _check(path, path.stat().st_size, found, file)
    return path


def _check(path: Path, size: int, sha256: str, file: Pinned) -> None:
    """Delete `path` and raise FetchError if its size or sha256 differs."""
    if size != file.size or sha256 != file.sha256:
        path.unlink()
        raise FetchError(
            f"{file.name} has {'more' if size > file.size else size} bytes with the sha256 "
            f"{sha256}, not {file.size} with {file.sha256}"
        )
