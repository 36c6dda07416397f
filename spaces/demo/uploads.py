"""What a request may hold: clips come by upload and by no other way, and everything is of its kind."""

import gradio as gr
from gradio.exceptions import InvalidPathError


class UploadsOnly(gr.Blocks):
    """
    An app that opens no path and no address that a request names.

    Gradio refuses files that nobody uploaded, without a word to the visitor and with their path in the log; addresses
    it would fetch, whatever their size; and of inputs that are of another kind the log would hold all.
    """

    async def preprocess_data(self, block_fn, inputs, state, explicit_call=False):
        """As Gradio's, after a look at what the inputs are, and where the files are said to be."""
        wanted = block_fn.inputs
        if len(inputs) != len(wanted) or not all(map(_is_of_its_kind, wanted, inputs)):
            raise _refusal('This is not what the endpoint takes: the page says under "For programs" what it does.')
        if any(isinstance(value, dict) and "://" in value["path"] for value in inputs):
            raise _refusal("Upload the file: paths and addresses are not opened.")
        try:
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except InvalidPathError as error:
            raise _refusal("Upload the file: paths and addresses are not opened.") from error


def _is_of_its_kind(component: gr.components.Component, value: object) -> bool:
    if value is None:
        return True
    if isinstance(component, (gr.Audio, gr.Video)):
        said = value.get("meta") if isinstance(value, dict) else None
        return said == {"_type": "gradio.FileData"} and isinstance(value.get("path"), str)
    if isinstance(component, gr.Radio):
        return value in [choice for _, choice in component.choices]
    return isinstance(value, bool if isinstance(component, gr.Checkbox) else str)


def _refusal(message: str) -> gr.Error:
    return gr.Error(message, print_exception=False)
