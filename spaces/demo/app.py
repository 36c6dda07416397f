"""
Runs the demo: a premise, hypotheses about it, and for each the probability that it is true. There are no options: the
environment variables CLUE_MODEL and CLUE_REVISION say what it runs.
"""

import argparse
import inspect
import os
from functools import wraps
from html import escape
from pathlib import Path


if __name__ == "__main__":  # before what takes long: the imports below load the model
    argparse.ArgumentParser(description=__doc__).parse_args()

from cleanup import MINUTES, keep_clean, make_upload_folder


os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
UPLOADS = make_upload_folder()

import gradio as gr  # noqa: E402
from answers import show_answers, show_error  # noqa: E402
from model import MODEL, judge, judge_over_time  # noqa: E402
from page_examples import examples_for  # noqa: E402
from uploads import UploadsOnly, picture_input  # noqa: E402
from validation import (  # noqa: E402
    MAX_FILE_MB,
    MAX_HYPOTHESES,
    MAX_HYPOTHESIS,
    MAX_SECONDS,
    InvalidInput,
    check_clip,
    check_picture,
    check_text,
    split_hypotheses,
)

from tools import use_judging_tools  # noqa: E402


HERE = Path(__file__).resolve().parent
LOCAL = "http://127.0.0.1:7860"
KINDS = ["Text", "Sound", "Video", "Together"]
SOUND = {"Picture and sound": ["with sound"], "Picture only": ["without sound"]}
SOUND["Both, side by side"] = ["with sound", "without sound"]
UNTESTED = (
    "<p class='small'>Give two or more; they are judged as one, in this order. Neither clue-small nor clue-urn-tiny "
    "was trained on several together, or on pictures: what they say of them is untested.</p>"
)
EMPTY = "<p class='empty'>The answers will stand here: for each hypothesis a probability, and how sure it is.</p>"

EXAMPLES = examples_for(MODEL)
FIRST = next(iter(EXAMPLES.values()))


def judge_text(text: str, hypotheses: str, ask=judge) -> list[dict]:
    """
    Judges how probable statements are, given a text: for each a calibrated probability that it is true.

    Args:
        text (`str`): What the statements are about, up to 4,000 characters of plain text.
        hypotheses (`str`): Statements that may be true or false, one a line: up to 16, of 300 characters each.

    Returns:
        for each statement its probability from 0 to 1, and the interval that holds the middle 90 % of the belief
    """
    return ask({"text": check_text(text)}, split_hypotheses(hypotheses))


def judge_audio(audio: str | None, hypotheses: str, ask=judge) -> list[dict]:
    """
    Judges how probable statements are, given a sound recording: for each a calibrated probability that it is true.

    Args:
        audio (`str`): The recording, up to 120 seconds and 50 MB, such as WAV, MP3, FLAC or Ogg.
        hypotheses (`str`): Statements that may be true or false, one a line: up to 16, of 300 characters each.

    Returns:
        for each statement its probability from 0 to 1, and the interval that holds the middle 90 % of the belief
    """
    sentences = split_hypotheses(hypotheses)
    return ask({"audio": check_clip(audio, "audio")}, sentences)


def judge_video(video: str | None, hypotheses: str, with_sound: bool, ask=judge) -> list[dict]:
    """
    Judges how probable statements are, given a video: for each a calibrated probability that it is true.

    Args:
        video (`str`): The video, up to 120 seconds, 1920 x 1080 and 50 MB, such as MP4 or WebM.
        hypotheses (`str`): Statements that may be true or false, one a line: up to 16, of 300 characters each.
        with_sound (`bool`): Whether its sound counts too; without, its pictures alone are judged.

    Returns:
        for each statement its probability from 0 to 1, and the interval that holds the middle 90 % of the belief
    """
    sentences = split_hypotheses(hypotheses)
    modality = "audiovisual" if with_sound else "video"
    return ask({"video": check_clip(video, "video", with_sound), "modality": modality}, sentences)


def judge_together(
    text: str | None = None,
    picture: str | None = None,
    audio: str | None = None,
    video: str | None = None,
    hypotheses: str = "",
    with_sound: bool = False,
) -> list[dict]:
    """
    Judges how probable statements are, given two or more of a text, a picture, a sound and a video as one premise.

    They are taken in this order, such as a background story and the clip that it belongs to.

    Args:
        text (`str`, *optional*): Up to 4,000 characters of plain text.
        picture (`str`, *optional*): PNG, JPEG, GIF or WebP, up to 25 million pixels and 50 MB.
        audio (`str`, *optional*): A recording, up to 120 seconds and 50 MB, such as WAV, MP3, FLAC or Ogg.
        video (`str`, *optional*): A video, up to 120 seconds, 1920 x 1080 and 50 MB, such as MP4 or WebM.
        hypotheses (`str`): Statements that may be true or false, one a line: up to 16, of 300 characters each.
        with_sound (`bool`): Whether the video's sound counts too; without, its pictures alone are judged.

    Returns:
        for each statement its probability from 0 to 1, and the interval that holds the middle 90 % of the belief
    """
    sentences, parts = split_hypotheses(hypotheses), []
    if text and text.strip():
        parts.append({"text": check_text(text)})
    if picture:
        parts.append({"image": check_picture(picture)})
    if audio:
        parts.append({"audio": check_clip(audio, "audio")})
    if video:
        modality = "audiovisual" if with_sound else "video"
        parts.append({"video": check_clip(video, "video", with_sound), "modality": modality})
    if len(parts) < 2:
        raise InvalidInput("Give at least two of these together: a text, a picture, a sound, a video.")
    return judge({"parts": parts}, sentences)


def answer(
    kind: str, text: str, picture: str | None, audio: str | None, video: str | None, sound: str, hypotheses: str
) -> str:
    """Returns what the page shows: the answers, or why there are none."""
    try:
        if kind == "Text":
            columns = {"": judge_text(text, hypotheses, judge_over_time)}
        elif kind == "Sound":
            columns = {"": judge_audio(audio, hypotheses, judge_over_time)}
        elif kind == "Video":
            columns = {
                name: judge_video(video, hypotheses, name == "with sound", judge_over_time) for name in SOUND[sound]
            }
        else:
            columns = {
                name: judge_together(text, picture, audio, video, hypotheses, name == "with sound")
                for name in (SOUND[sound] if video else [""])
            }
    except InvalidInput as error:
        return show_error(str(error))
    return show_answers(columns)


def endpoint(function):
    """Wraps a function so that a client of the API gets to read why its input is invalid."""

    @wraps(function)
    def called(*inputs):
        try:
            return function(*inputs)
        except InvalidInput as error:
            raise gr.Error(str(error), print_exception=False) from error

    return called


def show_kind(kind: str) -> list:
    """Shows the inputs that a kind of premise has: text, picture, sound, video, its sound; and what to know."""
    return [gr.update(visible=kind in (name, "Together")) for name in ("Text", "", "Sound", "Video", "Video", "")]


def take_example(name: str) -> list:
    """Puts an example in place of what the inputs hold."""
    kind, *values, hypotheses = EXAMPLES[name]
    *shown, untested = show_kind(kind)
    updates = [update | {"value": value} for update, value in zip(shown, values, strict=True)]
    return [kind, *updates, hypotheses, EMPTY, untested]


theme = gr.themes.Base(
    primary_hue=gr.themes.colors.teal,
    neutral_hue=gr.themes.colors.stone,
    radius_size=gr.themes.sizes.radius_md,
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
).set(
    color_accent="*primary_700",
    checkbox_background_color_selected="*primary_700",
    checkbox_background_color_selected_dark="*primary_300",
    checkbox_border_color_selected="*primary_700",
    checkbox_border_color_selected_dark="*primary_300",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    input_background_fill="*background_fill_primary",
    input_border_color="*neutral_500",
    input_border_color_dark="*neutral_500",
    input_border_width="1px",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_300",
    button_primary_background_fill_hover_dark="*primary_200",
    button_primary_text_color_dark="*neutral_950",
)

with UploadsOnly(title="CLUE: how probable is it?", analytics_enabled=False) as demo:
    gr.HTML(
        "<header class='top'><h1>How probable is it?</h1><p>Give a text, a sound, a video or several together, and "
        "sentences about it. CLUE says how probable it is that each is true.</p></header>"
    )
    with gr.Tabs():
        with gr.Tab("Try it"):
            with gr.Row(equal_height=False):
                with gr.Column(scale=5, min_width=320):
                    gr.HTML("<h2 class='heading'>Examples</h2>")
                    with gr.Row(elem_classes="examples"):
                        examples = {name: gr.Button(name, size="md", min_width=90) for name in EXAMPLES}
                    kind = gr.Radio(KINDS, value="Text", label="What the sentences are about")
                    untested = gr.HTML(UNTESTED, visible=False)
                    text = gr.Textbox(label="Text", lines=4, value=FIRST.text)
                    picture = picture_input(label="Picture", sources=["upload"], visible=False, buttons=[])
                    hidden = {"visible": False, "buttons": []}
                    audio = gr.Audio(
                        label="Sound", type="filepath", sources=["upload", "microphone"], elem_id="sound", **hidden
                    )
                    video = gr.Video(
                        label="Video", sources=["upload", "webcam"], include_audio=True, elem_id="video", **hidden
                    )
                    sound = gr.Radio(list(SOUND), value="Picture and sound", label="Of the video", visible=False)
                    hypotheses = gr.Textbox(
                        label="Hypotheses, one a line",
                        lines=4,
                        max_lines=16,
                        value=FIRST.hypotheses,
                        info=f"Up to {MAX_HYPOTHESES} sentences of up to {MAX_HYPOTHESIS} characters.",
                    )
                    submit = gr.Button("Judge", variant="primary", size="lg")
                    gr.HTML(
                        f"<p class='small'>Answers by {escape(Path(MODEL).name)}. Files up to {MAX_FILE_MB} MB, clips "
                        f"up to {MAX_SECONDS} seconds, pictures in PNG, JPEG, GIF or WebP. What you send is judged, "
                        f"kept for at most {2 * MINUTES} minutes so that you can play it, and looked at by nobody.</p>"
                    )
                with gr.Column(scale=6, min_width=320):
                    gr.HTML("<h2 class='heading'>Answers</h2>")
                    shown = gr.HTML(EMPTY, elem_id="answers")
        with gr.Tab("What the number means"):
            about = (HERE / "about.md").read_text(encoding="utf-8")
            # On the Hub a client of Gradio calls a Space by its name, any other by its address.
            if host := os.environ.get("SPACE_HOST"):
                about = about.replace(f"{LOCAL}/", f"https://{host}/")
            about = about.replace(LOCAL, os.environ.get("SPACE_ID", LOCAL))
            gr.Markdown(about, elem_classes="about")

    premise = [text, picture, audio, video, sound]
    inputs = [kind, *premise, hypotheses]
    kind.input(show_kind, kind, [*premise, untested], queue=False, api_visibility="private")
    filled = [*inputs, shown, untested]
    for name, button in examples.items():
        button.click(lambda name=name: take_example(name), None, filled, queue=False, api_visibility="private")
    submit.click(answer, inputs, shown, api_visibility="private", concurrency_id="model", show_progress_on=shown).then(
        None, js="() => document.getElementById('answers').scrollIntoView({block: 'nearest'})"
    )

    # What `gradio_client` and MCP clients call, with inputs that no page shows and that hold no example.
    with gr.Column(visible=False):
        result = gr.JSON()
        asked = {
            "text": gr.Textbox(label="text"),
            "picture": picture_input(label="picture"),
            "audio": gr.Audio(label="audio", type="filepath"),
            "video": gr.Video(label="video"),
            "hypotheses": gr.Textbox(label="hypotheses"),
            "with_sound": gr.Checkbox(label="with_sound"),
        }
        for function in (judge_text, judge_audio, judge_video, judge_together):
            gr.Button(function.__name__).click(
                endpoint(function),
                [asked[name] for name in inspect.signature(function).parameters if name in asked],
                result,
                api_name=function.__name__,
                concurrency_id="model",
            )

demo.queue(default_concurrency_limit=1, max_size=64)

if __name__ == "__main__":
    keep_clean(Path(UPLOADS.name))
    use_judging_tools()
    demo.launch(
        max_file_size=MAX_FILE_MB * 2**20,
        mcp_server=True,
        ssr_mode=False,
        run_history=False,
        # Of each session Gradio keeps a hundred kilobytes; nothing here depends on it.
        state_session_capacity=100,
        enable_monitoring=False,
        footer_links=[],
        theme=theme,
        css_paths=HERE / "page.css",
        js=(HERE / "page.js").read_text(encoding="utf-8"),
    )
