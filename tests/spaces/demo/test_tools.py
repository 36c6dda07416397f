"""The demo's tools as a client of MCP, the Model Context Protocol, finds and calls them; what is over the limits."""

import asyncio
import base64
import json
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, Tool

from tests.spaces.demo.conftest import SPACE, draw_picture
from tests.spaces.demo.test_endpoints import memory


pytestmark = pytest.mark.processes
URN = "Balls in the urn: red, red, blue, green, red."


def session(demo, work):
    """What a coroutine function makes of a session with the demo."""

    async def run():
        async with (
            streamable_http_client(f"{demo.url}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as client,
        ):
            await client.initialize()
            return await work(client)

    return asyncio.run(run())


def call(demo, tool: str, **arguments: object) -> CallToolResult:
    """What a tool says."""
    return session(demo, lambda client: client.call_tool(tool, arguments))


def said(result: CallToolResult) -> str:
    """The words of a result."""
    (content,) = result.content
    return content.text


def address(file: Path, kind: str) -> str:
    """A file as a `data:` address."""
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


def upload(demo, file: Path) -> str:
    """The path of an uploaded file."""
    with file.open("rb") as content:
        (path,) = httpx2.post(f"{demo.url}/gradio_api/upload", files={"files": content}, trust_env=False).json()
    return path


@pytest.fixture(scope="module")
def tools(demo) -> dict[str, Tool]:
    """The tools that a client is told of."""
    return {tool.name: tool for tool in session(demo, lambda client: client.list_tools()).tools}


def test_what_judges_is_a_tool_and_nothing_else(tools):
    """The page's own events are none. Each argument of each tool is described, and files as what they may be given as;
    no example stands in for an argument that was forgotten."""
    assert set(tools) == {"judge_text", "judge_audio", "judge_video", "judge_together"}
    for name, tool in tools.items():
        assert tool.description.startswith("Judges how probable statements are, given")
        assert ("data: address" in tool.description) == (name != "judge_text")
        assert "probability from 0 to 1" in tool.description and "`" not in tool.description
        for argument in tool.inputSchema["properties"].values():
            assert set(argument) == {"type", "description"} and argument["description"].endswith(".")
    assert tools["judge_video"].inputSchema["required"] == ["video", "hypotheses"]
    assert tools["judge_together"].inputSchema["required"] == ["hypotheses"]


def test_tools_give_the_pipelines_answers(demo, clue, clips, tmp_path):
    """In JSON, for texts, for files in the call and for files that were uploaded, by their path or address."""
    picture = draw_picture(tmp_path / "ball.png")
    beeps, balls = clips / "beeps.flac", clips / "balls_that_beep.mp4"
    path = upload(demo, balls)
    sentences = ["The ball is red.", "It is not blue."]
    lines = "\n".join(sentences)
    for tool, arguments, premise in (
        ("judge_text", {"text": URN}, {"text": URN}),
        ("judge_audio", {"audio": address(beeps, "audio/flac")}, {"audio": str(beeps)}),
        ("judge_video", {"video": path, "with_sound": True}, {"video": str(balls), "modality": "audiovisual"}),
        ("judge_video", {"video": f"{demo.url}/gradio_api/file={path}"}, {"video": str(balls)}),
        (
            "judge_together",
            {"text": URN, "picture": address(picture, "image/png")},
            {"parts": [{"text": URN}, {"image": str(picture)}]},
        ),
    ):
        result = call(demo, tool, hypotheses=lines, **arguments)
        assert not result.isError, said(result)
        answers = json.loads(said(result))
        for answer, other in zip(answers, clue({**premise, "hypotheses": sentences}), strict=True):
            assert "distribution" not in answer
            assert (answer["hypothesis"], answer["modality"]) == (other["hypothesis"], other["modality"])
            assert answer["probability"] == pytest.approx(other["probability"], abs=1e-5)
            assert answer["interval"] == pytest.approx(other["interval"], abs=1e-4)


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("judge_text", {"text": URN, "hypotheses": "It is red.\n" * 17}, "17 hypotheses"),
        ("judge_text", {"text": "red " * 1_001, "hypotheses": "It is red."}, "longer than 4,000"),
        ("judge_text", {"text": URN, "hypotheses": "<b>red</b>"}, "has markup"),
        ("judge_text", {"text": URN}, "'hypotheses' is a required property"),
        ("judge_video", {"video": "/etc/passwd", "hypotheses": "It is red."}, "This is no file. A file is given as"),
        ("judge_video", {"video": "../../etc/passwd", "hypotheses": "It is red."}, "This is no file"),
        ("judge_video", {"video": "http://127.0.0.1:9/a.mp4", "hypotheses": "It is red."}, "This is no file"),
        ("judge_video", {"video": "http://x/gradio_api/file=/etc/passwd", "hypotheses": "It."}, "This is no file"),
        ("judge_video", {"video": "\x00", "hypotheses": "It is red."}, "This is no file"),
        ("judge_audio", {"audio": "data:audio/wav;base64,A", "hypotheses": "It is red."}, "This is no file"),
        ("judge_audio", {"audio": "data:audio/wav;base64,aGVsbG8=", "hypotheses": "It is red."}, "can be read"),
        ("judge_together", {"text": URN, "hypotheses": "It is red."}, "at least two"),
    ],
)
def test_what_is_over_the_limits_is_refused(demo, tool, arguments, message):
    """With the page's own message, or with how a file is given."""
    result = call(demo, tool, **arguments)
    assert result.isError and message in said(result)
    assert "Traceback" not in said(result) and "passwd" not in said(result)


def test_a_call_that_is_too_large_is_not_read(demo):
    """Neither one that states its length nor one in pieces leaves anything behind; one as large as may be is told that
    its file is no sound. Those after are answered."""
    url = f"{demo.url}/gradio_api/mcp/"
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    call(demo, "judge_text", text=URN, hypotheses="It is red.")
    before = memory(demo.process.pid)
    for content in (b"x" * (8 << 20), (b"x" * (1 << 20) for _ in range(400))):
        try:
            refused = httpx2.post(url, content=content, headers=headers, timeout=60, trust_env=False)
            assert refused.status_code == 413
        except httpx2.TransportError:
            pass  # cut off while it was still sending
    assert memory(demo.process.pid) - before < 100 << 20

    most = "data:audio/wav;base64," + base64.b64encode(bytes(3_000_000)).decode()
    assert "can be read" in said(call(demo, "judge_audio", audio=most, hypotheses="It is high."))
    assert not call(demo, "judge_text", text=URN, hypotheses="It is red.").isError


def test_nothing_that_a_client_sends_is_logged(demo, tmp_path):
    """Neither texts nor names of files, judged or refused."""
    call(demo, "judge_text", text="The urn: red, blue. Heliotrope.", hypotheses="It is red.")
    call(demo, "judge_text", text="Heliotrope.", hypotheses="<heliotrope>")
    call(demo, "judge_video", video="/tmp/heliotrope.mp4", hypotheses="It is red.")
    (tmp_path / "heliotrope.mp4").write_bytes(b"heliotrope")
    call(demo, "judge_video", video=upload(demo, tmp_path / "heliotrope.mp4"), hypotheses="It is red.")
    assert "heliotrope" not in demo.log.read_text().lower()


def test_the_documented_client(demo):
    """The program of the README runs as it stands there, but for the port."""
    text = (SPACE / "README.md").read_text()
    code = text.partition("## As tools of a language model")[2].partition("python -c '\n")[2].partition("\n'")[0]
    code = code.replace("http://127.0.0.1:7860", demo.url)
    done = subprocess.run([sys.executable, "-c", code], cwd=SPACE, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["hypothesis"] == "A random sound is high."
