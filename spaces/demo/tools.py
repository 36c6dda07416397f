"""Lets programs that speak MCP, the Model Context Protocol, call the endpoints as tools, within the page's limits."""

import base64
import json
import mimetypes
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import unquote, urlsplit

import gradio.mcp
from gradio.utils import get_upload_folder
from mcp.types import TextContent
from validation import MAX_FILE_MB, InvalidInput


# The package `mcp` takes no call of more than 4 MiB, in which a file is written in base64.
MAX_INLINE_MB = 3
HOW_TO_GIVE_FILES = (
    f" A file is given as a data: address (data:video/mp4;base64,...) of up to {MAX_INLINE_MB} MB, or as the path "
    f"that an upload to /gradio_api/upload of this Space returned, of up to {MAX_FILE_MB} MB. No other path and no "
    "other address is opened."
)
# Of an answer; the distribution is a hundred numbers, which no reader of words has a use for.
SHOWN = ("hypothesis", "probability", "interval", "standard_deviation", "novelty", "modality", "notes")


class JudgingTools(gradio.mcp.GradioMCPServer):
    """
    Serves the endpoints as tools, as Gradio does, but for files and answers.

    Gradio has the answers in Python's notation rather than in JSON, and tells programs to give the address of a file,
    of which this Space opens none.
    """

    @property
    def _file_data_tool_description(self) -> str:
        return HOW_TO_GIVE_FILES

    def get_input_schema(self, tool_name: str, parameters: dict[str, str] | None = None) -> tuple[dict, list]:
        """Describes the arguments of a tool, its files as they are taken here."""
        schema, places = super().get_input_schema(tool_name, parameters)
        for name, *_ in places:
            said = schema["properties"][name]
            schema["properties"][name] = {key: said[key] for key in ("type", "description") if key in said}
        return schema, places

    def convert_strings_to_filedata(self, value: dict, filedata_positions: list) -> dict:
        """Takes the files among the arguments of a call; [`InvalidInput`] for what is none."""
        files = {name for name, *_ in filedata_positions}
        return {name: _file(given) if name in files and given else given for name, given in value.items()}

    def postprocess_output_data(self, data: list, root_url: str) -> list[TextContent]:
        """Writes the answers in JSON, one object for each hypothesis."""
        (answers,) = data
        shown = [{name: answer[name] for name in SHOWN if name in answer} for answer in answers]
        return [TextContent(type="text", text=json.dumps(shown, ensure_ascii=False))]


def use_judging_tools() -> None:
    """Has Gradio serve [`JudgingTools`]; must be called before the launch."""
    gradio.mcp.GradioMCPServer = JudgingTools


def _file(given: object) -> dict:
    """Returns a file of a call as Gradio's client takes it."""
    wrong = InvalidInput("This is no file." + HOW_TO_GIVE_FILES)
    if not isinstance(given, str):
        raise wrong
    if given.startswith("data:"):
        kind, _, data = given.partition(";base64,")
        try:
            content = base64.b64decode(data, validate=True)
        except ValueError as error:
            raise wrong from error
        # What it is its content says; the ending is for Gradio.
        ending = mimetypes.guess_extension(kind.removeprefix("data:").partition(";")[0]) or ""
        file = Path(mkdtemp(dir=get_upload_folder()), f"file{ending}")
        file.write_bytes(content)
        return _given(file)
    path = urlsplit(given).path if "://" in given else given
    path = unquote(path.partition("/gradio_api/file=")[2]) or path
    folder = Path(get_upload_folder()).resolve()
    try:
        file = Path(path).resolve()
        if not file.is_relative_to(folder) or not file.is_file():
            raise wrong
    except (OSError, ValueError) as error:
        raise wrong from error
    return _given(file)


def _given(file: Path) -> dict:
    return {"path": str(file), "orig_name": file.name, "meta": {"_type": "gradio.FileData"}}
