# ruff: noqa: F811 - arguments that are fixtures
"""Attacks from a real Chromium in which the studio is open: another site, a wrong token, paths."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from studio_browser import Server, browser, open_page, server, shared  # noqa: F401 - fixtures

ATTACK = """async (home) => {
    const job = JSON.stringify({ technique: "basic", source: ["clip.mp4"], output: "evil.mp4",
        style: ["wave.png"] });
    const done = {};
    const attempt = async (name, way) => {
        try { done[name] = await way(); } catch (error) { done[name] = error.name; }
    };
    const options = { credentials: "include" };
    await attempt("read", async () => (await fetch(`${home}/api/state`, options)).text());
    await attempt("write", async () =>
        (await fetch(`${home}/api/jobs`,
            { ...options, method: "POST", mode: "no-cors", body: job })).type);
    await attempt("picture", () => new Promise((resolve, reject) => {
        const image = new Image();
        image.onload = () => resolve("loaded");
        image.onerror = () => resolve("refused");
        image.src = `${home}/api/frame?path=clip.mp4`;
    }));
    return done;
}"""


class Empty(BaseHTTPRequestHandler):
    """Answers with an empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html>")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def other_site() -> Iterator[str]:
    """A page on another port of this machine, to which the browser sends cookies of all ports."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Empty) as site:
        Thread(target=site.serve_forever).start()
        yield f"http://127.0.0.1:{site.server_port}/"
        site.shutdown()


def test_another_site_in_the_same_browser_reads_and_changes_nothing(
    browser: Any, server: Server, other_site: str
) -> None:
    user = open_page(browser, server)
    home = user.page.evaluate("location.origin")
    evil = user.page.context.new_page()
    evil.goto(other_site)
    done = evil.evaluate(ATTACK, home)
    assert (done["read"], done["picture"]) == ("TypeError", "refused")
    assert done["write"] in ("TypeError", "opaque")  # it was sent, and is not done
    evil.set_content(f"<iframe src='{home}/'></iframe>")
    evil.wait_for_timeout(300)
    assert all("brand" not in frame.content() for frame in evil.frames[1:])
    jobs = user.page.evaluate("fetch('/api/jobs').then((found) => found.json())")
    assert jobs == {"jobs": []}
    assert not (server.folder / "evil.mp4").exists()
    assert user.faults == []


def test_a_wrong_token_and_a_path_outside_are_refused_on_the_page(
    browser: Any, server: Server
) -> None:
    other = browser.new_context().new_page()
    found = other.goto(server.start().split("token=")[0] + "token=wrong")
    assert found is not None
    assert found.status == 403
    assert "expected the token of this studio" in other.inner_text("body")
    user = open_page(browser, server)
    user.page.click("#tab-open")
    user.page.fill("#path", "../../etc/passwd")
    user.page.press("#path", "Enter")
    assert "where the studio was started" in user.message()
    assert user.faults == []
