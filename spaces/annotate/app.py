"""
Runs the annotation tool: claims about clips and texts, judged by several people at once. README.md says how to set it
up.

```
ANNOTATE_DATASET=umui ANNOTATE_CONFIG=urn-audiovisual ANNOTATE_USERS_FILE=users.txt python app.py
```
"""

import argparse
import os
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path


if __name__ == "__main__":  # before the imports that take seconds
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()

import gradio as gr
from annotator_pages import AnnotatorPages, BadAnswer
from dashboard import Dashboard
from items import load_items, make_queue
from playable import find_faults, warning
from settings import Settings, read_settings
from store import NotAssigned, Store
from sync import NAME, Sync, restore
from training import load_examples
from users import User, password_check


PAGES = Path(__file__).resolve().parent / "pages"
# For the page of the login, which is Gradio's; the others are drawn by `pages/`.
THEME = gr.themes.Base(
    primary_hue="teal", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
).set(
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_800",
    input_background_fill="*background_fill_primary",
    input_border_color="*neutral_500",
    input_border_color_dark="*neutral_500",
    input_border_width="1px",
)
SCRIPTS = ("elements.js", "judgement.js", "annotator.js", "organiser.js", "main.js")


def build(users: dict[str, User], annotator: AnnotatorPages, dashboard: Dashboard) -> gr.Blocks:
    """Builds the page and its buttons. Who asks is taken from the session alone, never from what a page sends."""
    # A page that is sent twice is news the second time too: the browser waits for an answer.
    numbers = count()

    def first(request: gr.Request) -> dict:
        name = request.username
        return dashboard.page(name) if users[name].role == "organiser" else annotator.resume(name)

    def action(role: str, answer: Callable[..., dict], fields: list[str]) -> Callable:
        def act(event: gr.EventData, request: gr.Request) -> dict:
            if users[request.username].role != role:
                raise gr.Error("This is not yours to do.", print_exception=False)
            sent = event._data if isinstance(event._data, dict) else {}
            try:
                return answer(request.username, *map(sent.get, fields)) | {"serial": next(numbers)}
            except (BadAnswer, NotAssigned) as error:
                # The page stays as it is, so that nothing that was typed is lost.
                gone = isinstance(error, NotAssigned)
                return {"page": "message", "message": str(error), "gone": gone, "serial": next(numbers)}

        return act

    with gr.Blocks(title="Annotate") as app:
        page = gr.HTML(
            html_template='<div class="annotate" aria-live="polite"></div>',
            js_on_load="\n".join((PAGES / script).read_text(encoding="utf-8") for script in SCRIPTS),
            apply_default_css=False,
            padding=False,
        )
        actions = (
            ("annotator", page.begin, annotator.begin),
            ("annotator", page.instructions, annotator.instructions),
            ("annotator", page.resume, annotator.resume),
            ("annotator", page.train, annotator.train, "answer"),
            ("annotator", page.trained, annotator.trained, "id"),
            ("annotator", page.judge, annotator.judge, "id", "answer"),
            ("annotator", page.open, annotator.open, "id"),
            ("annotator", page.unplayed, annotator.unplayed, "id", "why"),
            ("organiser", page.overview, dashboard.page),
            ("organiser", page.reassign, dashboard.reassign, "annotator"),
            ("organiser", page.export, dashboard.export),
        )
        for role, listen, answer, *fields in actions:
            listen(action(role, answer, fields), outputs=page, show_progress="hidden", api_visibility="private")
        app.load(first, outputs=page, show_progress="hidden", api_visibility="private")
    return app


def main(settings: Settings) -> None:
    """Starts the server."""
    file = settings.data / NAME
    if settings.sync and restore(settings.sync, file):
        print(f"Went on from the copy in {settings.sync}")
    items = load_items(settings.dataset, settings.config, settings.split, settings.data / "clips")
    queue, examples = make_queue(items, settings.pilot, settings.seed), load_examples()
    digests = {item.id: item.digest for item in items}
    store = Store(file, queue, digests, settings.annotators, settings.per_item, settings.patience)
    if settings.sync:
        Sync(store, settings.sync, settings.data / "sync", settings.sync_minutes)
    by_id = {item.id: item for item in items}
    parts = {part for one in [*items, *examples] for part in one.parts if part.is_file}
    clips = {(part.content, part.modality) for part in parts}
    wrong = warning(find_faults(clips))
    if wrong:
        print(wrong, file=sys.stderr, flush=True)
    dashboard = Dashboard(store, by_id, store.queue, settings.per_item, wrong)
    app = build(settings.users, AnnotatorPages(store, by_id, examples), dashboard)
    app.queue(default_concurrency_limit=8)
    app.launch(
        auth=password_check(settings.users),
        auth_message=(PAGES / "login.html").read_text(encoding="utf-8"),
        allowed_paths=sorted({path for path, _ in clips}),
        # Nothing is to be uploaded; what a browser would keep of answers on a shared computer is not kept.
        max_file_size=1,
        run_history=False,
        footer_links=[],
        ssr_mode=False,
        theme=THEME,
        css_paths=PAGES / "style.css",
    )


if __name__ == "__main__":
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        main(read_settings(os.environ))
    except ValueError as error:
        sys.exit(f"error: {error}")
