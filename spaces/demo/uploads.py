"""Refuses requests whose files come by another way than upload, or whose inputs are of another kind."""

import gradio as gr
from gradio.exceptions import InvalidPathError


def picture_input(**options) -> gr.Image:
    """Makes an input for a picture, which comes as it is: Gradio would open it before it has been checked."""
    image = gr.Image(type="filepath", **options)
    image.preprocess = lambda upload: upload.path if upload else None
    return image


class UploadsOnly(gr.Blocks):
    """
    Opens no path and no address that a request names.

    Gradio refuses files that nobody uploaded, without a word to the visitor and with their path in the log; addresses
    it would fetch, whatever their size; and of inputs that are of another kind the log would hold all.
    """

    async def preprocess_data(self, block_fn, inputs, state, explicit_call=False):
        """Looks at what the inputs are and where the files are said to be, then does as Gradio does."""
        wanted = block_fn.inputs
        if len(inputs) != len(wanted) or not all(map(_is_of_its_kind, wanted, inputs)):
            raise _error('This is not what the endpoint takes: the page says under "For programs" what it does.')
        if any(isinstance(value, dict) and "://" in value["path"] for value in inputs):
            raise _error("Upload the file: paths and addresses are not opened.")
        try:
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except InvalidPathError as error:
            raise _error("Upload the file: paths and addresses are not opened.") from error


def _is_of_its_kind(component: gr.components.Component, value: object) -> bool:
    if value is None:
        return True
    if isinstance(component, (gr.Image, gr.Audio, gr.Video)):
        said = value.get("meta") if isinstance(value, dict) else None
        return said == {"_type": "gradio.FileData"} and isinstance(value.get("path"), str)
    if isinstance(component, gr.Radio):
        return value in [choice for _, choice in component.choices]
    return isinstance(value, bool if isinstance(component, gr.Checkbox) else str)


def _error(message: str) -> gr.Error:
    return gr.Error(message, print_exception=False)
