"""
The annotation tool: claims about clips and texts, judged by several people at once. README.md says how to set it up.

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
from desk import BadAnswer, Desk
from items import arrange, load_items
from organiser import Office
from playable import find_faults, warning
from settings import Settings, read_settings
from store import NotYours, Store
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


def build(users: dict[str, User], desk: Desk, office: Office) -> gr.Blocks:
    """
    The page and what its buttons do. Who asks is taken from the session alone, never from what a page sends.

    Args:
        users (`dict[str, User]`): Everybody by name.
        desk ([`Desk`]): The annotators' pages.
        office ([`Office`]): The organiser's.

    Returns:
        `gr.Blocks`: the app.
    """

    # A page that is sent twice is news the second time too: the browser waits for an answer.
    numbers = count()

    def first(request: gr.Request) -> dict:
        name = request.username
        return office.page(name) if users[name].role == "organiser" else desk.resume(name)

    def action(role: str, answer: Callable[[str, dict], dict]) -> Callable:
        def act(event: gr.EventData, request: gr.Request) -> dict:
            if users[request.username].role != role:
                raise gr.Error("This is not yours to do.", print_exception=False)
            sent = event._data if isinstance(event._data, dict) else {}
            try:
                return answer(request.username, sent) | {"serial": next(numbers)}
            except (BadAnswer, NotYours) as error:
                # The page stays as it is, so that nothing that was typed is lost.
                return {
                    "page": "message",
                    "message": str(error),
                    "gone": isinstance(error, NotYours),
                    "serial": next(numbers),
                }

        return act

    with gr.Blocks(title="Annotate") as app:
        page = gr.HTML(
            html_template='<div class="annotate" aria-live="polite"></div>',
            js_on_load="\n".join((PAGES / script).read_text(encoding="utf-8") for script in SCRIPTS),
            apply_default_css=False,
            padding=False,
        )
        actions = (
            (page.begin, "annotator", lambda name, sent: desk.begin(name)),
            (page.instructions, "annotator", lambda name, sent: desk.instructions(name)),
            (page.resume, "annotator", lambda name, sent: desk.resume(name)),
            (page.train, "annotator", lambda name, sent: desk.train(name, sent.get("answer"))),
            (page.trained, "annotator", lambda name, sent: desk.trained(name, sent.get("id"))),
            (page.judge, "annotator", lambda name, sent: desk.judge(name, sent.get("id"), sent.get("answer"))),
            (page.open, "annotator", lambda name, sent: desk.open(name, sent.get("id"))),
            (page.unplayed, "annotator", lambda name, sent: desk.unplayed(name, sent.get("id"), sent.get("why"))),
            (page.overview, "organiser", lambda name, sent: office.page(name)),
            (page.give_on, "organiser", lambda name, sent: office.give_on(name, sent.get("annotator"))),
            (page.export, "organiser", lambda name, sent: office.export(name)),
        )
        for listen, role, answer in actions:
            listen(action(role, answer), outputs=page, show_progress="hidden", api_visibility="private")
        app.load(first, outputs=page, show_progress="hidden", api_visibility="private")
    return app


def main(settings: Settings) -> None:
    """
    Starts the server.

    Args:
        settings ([`Settings`]): The settings.
    """
    file = settings.data / NAME
    if settings.sync and restore(settings.sync, file):
        print(f"Went on from the copy in {settings.sync}")
    items = load_items(settings.dataset, settings.config, settings.split, settings.data / "clips")
    places, examples = arrange(items, settings.pilot, settings.seed), load_examples()
    digests = {item.id: item.digest for item in items}
    store = Store(file, places, digests, settings.annotators, settings.per_item, settings.patience)
    if settings.sync:
        Sync(store, settings.sync, settings.data / "sync", settings.sync_minutes)
    by_id = {item.id: item for item in items}
    clips = {(one.premise, one.modality) for one in [*items, *examples] if one.modality != "text"}
    wrong = warning(find_faults(clips))
    if wrong:
        print(wrong, file=sys.stderr, flush=True)
    office = Office(store, by_id, store.places, settings.per_item, wrong)
    app = build(settings.users, Desk(store, by_id, examples), office)
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
