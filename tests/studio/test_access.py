"""Attacks on the server: each is refused, and the page of the owner is not."""

import asyncio
import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from studio_client import client, folder  # noqa: F401 - fixtures

from vidstyle.studio import source_routes
from vidstyle.studio.app import make_app

STATE = "/api/state"


def test_the_first_url_gives_a_strict_cookie_and_a_policy_without_other_hosts(client: Any) -> None:  # noqa: F811
    found = client("GET", "/?token=the-token", headers={"Cookie": None, "Origin": None})
    assert found.status_code == 200
    cookie = found.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    policy = dict(
        part.strip().split(" ", 1) for part in found.headers["content-security-policy"].split(";")
    )
    assert policy.pop("img-src") == "'self' blob: data:"
    none = ("default-src", "base-uri", "form-action", "frame-ancestors")
    assert {policy.pop(name) for name in none} == {"'none'"}
    assert policy == dict.fromkeys(
        ("script-src", "style-src", "connect-src", "frame-src"), "'self'"
    )


def test_an_answer_is_not_stored_nor_taken_for_another_kind_nor_shown_elsewhere(
    client: Any,  # noqa: F811
) -> None:
    for path in (STATE, "/static/main.js", "/api/files"):
        found = client("GET", path).headers
        assert found["cache-control"] == "no-store"
        assert found["x-content-type-options"] == "nosniff"
        assert found["referrer-policy"] == "no-referrer"
        assert found["cross-origin-resource-policy"] == "same-origin"
        assert found["cross-origin-opener-policy"] == "same-origin"
        assert "set-cookie" not in found


def test_the_page_itself_is_answered(client: Any) -> None:  # noqa: F811
    assert client("GET", STATE).json()["techniques"][0]["name"] == "basic"


@pytest.mark.parametrize("path", ["/", STATE, "/static/main.js", "/api/frame?path=clip.mp4"])
@pytest.mark.parametrize(
    "cookie", [None, "vidstyle_studio_8000=wrong", "vidstyle_studio_9=the-token"]
)
def test_a_request_without_the_token_is_refused(client: Any, path: str, cookie: str | None) -> None:  # noqa: F811
    assert client("GET", path, headers={"Cookie": cookie, "Origin": None}).status_code == 403


@pytest.mark.parametrize("token", ["wrong", "", "the-token%00", "the-toke"])
def test_a_wrong_token_gives_no_cookie(client: Any, token: str) -> None:  # noqa: F811
    found = client("GET", f"/?token={token}", headers={"Cookie": None, "Origin": None})
    assert found.status_code == 403
    assert "set-cookie" not in found.headers


def test_the_token_in_the_url_opens_the_page_only(client: Any) -> None:  # noqa: F811
    found = client("GET", f"{STATE}?token=the-token", headers={"Cookie": None, "Origin": None})
    assert found.status_code == 403


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:8001", "http://127.0.0.1:8000.evil.example"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_origin_is_refused(client: Any, origin: str, method: str) -> None:  # noqa: F811
    path = STATE if method == "GET" else "/api/open"
    found = client(method, path, headers={"Origin": origin}, content='{"path": "clip.mp4"}')
    assert found.status_code == 403


def test_a_change_without_an_origin_is_refused(client: Any) -> None:  # noqa: F811
    assert client("PUT", "/api/project", headers={"Origin": None}, content="{}").status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example:8000", "evil.example", "127.0.0.1:9", "10.0.0.7:8000", "[", "localhost"]
)
def test_a_foreign_host_is_refused(client: Any, host: str) -> None:  # noqa: F811
    found = client("GET", STATE, headers={"Host": host, "Origin": None})
    assert found.status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000"])
def test_the_names_of_this_machine_are_known(client: Any, host: str) -> None:  # noqa: F811
    assert client("GET", STATE, headers={"Host": host, "Origin": f"http://{host}"}).is_success


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("evil.example:8000", False),
        ("192.168.1.5:8000", True),
        (f"{socket.gethostname().lower()}:8000", True),
        ("192.168.1.5:8001", False),
        ("127.0.0.1:8000", True),
    ],
)
def test_with_other_machines_let_in_a_foreign_name_is_still_refused(
    client: Any,  # noqa: F811
    host: str,
    known: bool,
) -> None:
    client.app = make_app(client.studio, token="the-token", host="0.0.0.0", port=8000)
    found = client("GET", STATE, headers={"Host": host, "Origin": None})
    assert found.status_code == (200 if known else 403)


def test_a_web_socket_is_closed(client: Any) -> None:  # noqa: F811
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(client.app({"type": "websocket", "path": "/"}, None, send))
    assert [(one["type"], one["code"]) for one in sent] == [("websocket.close", 1008)]


def test_a_cross_site_fetch_is_refused_though_it_names_no_origin(client: Any) -> None:  # noqa: F811
    headers = {"Origin": None, "Sec-Fetch-Site": "cross-site"}
    assert client("GET", "/api/frame?path=clip.mp4", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png",
        "../start-2/secret.png",
        "/etc/passwd",
        "a/../../secret.png",
        "~/x.png",
        "link.png",
        "linked/secret.png",
        "x\0.png",
    ],
)
def test_no_path_leads_out_of_the_opened_folders(client: Any, folder: Path, path: str) -> None:  # noqa: F811
    secret = folder.parent / "secret.png"
    secret.write_bytes((folder / "wave.png").read_bytes())
    (folder.parent / "start-2").mkdir()
    (folder.parent / "start-2" / "secret.png").write_bytes(secret.read_bytes())
    (folder / "a").mkdir()
    (folder / "link.png").symlink_to(secret)
    (folder / "linked").symlink_to(folder.parent)
    answers = [
        client("GET", "/api/picture", params={"path": path}),
        client("GET", "/api/frame", params={"path": path}),
        client("GET", "/api/files", params={"path": path}),
        client("POST", "/api/open", json={"path": path}),
        client("POST", "/api/describe", json=request_of(style=[path])),
        client("POST", "/api/describe", json=request_of(output=path)),
        client("POST", "/api/jobs", json=request_of(source=[path])),
    ]
    assert [found.status_code for found in answers] == [400] * len(answers)
    if "\0" not in path:
        assert all("where the studio was started" in found.text for found in answers)


def request_of(**changed: Any) -> dict[str, Any]:
    values = {
        "technique": "basic",
        "source": ["clip.mp4"],
        "output": "o.mp4",
        "style": ["wave.png"],
    }
    return {**values, **changed}


@pytest.mark.parametrize("layer", ["..", "a/b", "%2e%2e", "A", "a" * 60])
def test_no_layer_leads_out_of_its_folder(client: Any, folder: Path, layer: str) -> None:  # noqa: F811
    png = (folder / "wave.png").read_bytes()
    before = sorted(folder.rglob("*"))
    found = client("PUT", f"/api/layers/{layer}/0", content=png)
    assert found.status_code in (400, 404, 405)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", ["../up.png", "/etc/up.png", "..\\up.png", ".hidden/../up.png"])
def test_an_upload_stays_in_its_folder(client: Any, folder: Path, name: str) -> None:  # noqa: F811
    found = client("POST", "/api/upload", params={"name": name, "set": "../../x"}, content=b"abc")
    stored = Path(found.json()["path"]).resolve()
    assert folder / "vidstyle-studio" / "dropped" in stored.parents
    assert (stored / "up.png").read_bytes() == b"abc"


def test_an_oversize_upload_is_refused_and_leaves_nothing(client: Any, folder: Path) -> None:  # noqa: F811
    found = client("POST", "/api/upload", params={"name": "big.mp4"}, content=b"x" * 100_001)
    assert found.status_code == 400
    assert "at most 100,000 bytes" in found.json()["error"]
    assert [path for path in (folder / "vidstyle-studio").rglob("*") if path.is_file()] == []


def test_an_upload_that_is_no_media_is_refused(client: Any) -> None:  # noqa: F811
    found = client("POST", "/api/upload", params={"name": "run.sh"}, content=b"#!")
    assert found.status_code == 400


def test_a_body_of_json_is_bounded(client: Any) -> None:  # noqa: F811
    found = client("PUT", "/api/project", content=b'{"a": "' + b"x" * (1 << 20) + b'"}')
    assert found.status_code == 400


def test_a_painted_picture_is_bounded(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(source_routes, "_PNG_BYTES", 1000)
    found = client("PUT", "/api/layers/m-1/0", content=b"x" * 1001)
    assert found.status_code == 400
    assert "at most 1,000 bytes" in found.json()["error"]


def test_a_job_file_is_bounded(client: Any) -> None:  # noqa: F811
    found = client("POST", "/api/load", content=b"#" * ((1 << 20) + 1))
    assert found.status_code == 400
    assert "bytes" in found.json()["error"]


@pytest.mark.parametrize("key", [{"list": "files.txt"}, {"shard": "1/2"}])
def test_a_batch_is_refused(client: Any, folder: Path, key: dict[str, str]) -> None:  # noqa: F811
    (folder / "files.txt").write_text("/etc/passwd\n")
    found = client("POST", "/api/jobs", json=request_of(**key))
    assert found.status_code == 400


def test_a_report_may_run_no_script_and_load_nothing(
    client: Any,  # noqa: F811
    folder: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = folder / "vidstyle-studio" / "reports" / "7.html"
    page.parent.mkdir(parents=True)
    output = folder / "o.mp4"
    output.touch()
    os.utime(output, (1, 1))
    page.write_text("<script>1</script>")
    job = SimpleNamespace(id="7", output=output)
    monkeypatch.setattr(client.studio.queue, "get", lambda _: job)
    found = client("GET", "/api/jobs/7/report")
    assert found.text == "<script>1</script>"
    policy = found.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "frame-ancestors 'self'", "sandbox"} <= set(policy)
    assert not any("script" in part or "allow" in part for part in policy)


def test_static_files_end_at_their_folder(client: Any) -> None:  # noqa: F811
    assert client("GET", "/static/..%2fapp.py").status_code == 404
    assert client("GET", "/static/../app.py").status_code == 404
