"""`app/web/files.py`: the page and its files, and nothing else of the disk."""

from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from app.errors import AgentError
from app.web.files import routes
from app.web.refusals import on_agent_error


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    page = tmp_path / "page"
    (page / "parts").mkdir(parents=True)
    (page / "index.html").write_text("<p>page</p>")
    (page / "parts" / "chat.js").write_text("export {}")
    (page / "style.css").write_text("p {}")
    (page / ".hidden.js").write_text("secret")
    (page / "notes.py").write_text("secret")
    (tmp_path / "secret.js").write_text("secret")
    (page / "link.js").symlink_to(tmp_path / "secret.js")
    return page


@pytest.fixture
def http(folder: Path) -> httpx.AsyncClient:
    app = Starlette(routes=routes(folder), exception_handlers={AgentError: on_agent_error})
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/static/parts/chat.js", "text/javascript; charset=utf-8"),
        ("/static/style.css", "text/css; charset=utf-8"),
    ],
)
async def test_files_come_with_their_type(path: str, media_type: str, http: httpx.AsyncClient) -> None:
    """Each file has the type that browsers insist on, and is not sent again while it is the same."""
    answer = await http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    again = await http.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_a_changed_file_is_sent(folder: Path, http: httpx.AsyncClient) -> None:
    """After an upgrade the new file is sent to who has the old one."""
    old = await http.get("/static/style.css")
    (folder / "style.css").write_text("p { color: red }")
    new = await http.get("/static/style.css", headers={"if-none-match": old.headers["etag"]})
    assert (new.status_code, new.text) == (200, "p { color: red }")


@pytest.mark.parametrize(
    "name",
    [
        "../secret.js", "..%2fsecret.js", "%2e%2e/secret.js", "parts/../../secret.js", "parts//chat.js", "", "parts",
        ".hidden.js", "notes.py", "link.js", "/etc/passwd", "//etc/passwd", "parts/chat.js/", "style.css%00.js",
        "parts/%2e%2e/%2e%2e/secret.js", "a" * 5000 + ".js",
    ],
)  # fmt: skip
async def test_nothing_else_is_served(name: str, http: httpx.AsyncClient) -> None:
    """No name leads out of the folder, by a link either, and files of other kinds are not there."""
    request = http.build_request("GET", "/")
    request.url = httpx.URL("http://localhost").copy_with(raw_path=f"/static/{name}".encode())
    answer = await http.send(request)
    assert answer.status_code == 404
    assert "secret" not in answer.text
