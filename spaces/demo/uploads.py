"""Clips come by upload and by no other way."""

import gradio as gr
from gradio.exceptions import InvalidPathError


class UploadsOnly(gr.Blocks):
    """
    An app that opens no path and no address that a request names.

    Gradio refuses files that nobody uploaded, without a word to the visitor and with their path in the log; addresses
    it would fetch, whatever their size.
    """

    async def preprocess_data(self, block_fn, inputs, state, explicit_call=False):
        """As Gradio's, after a look at where the files are said to be."""
        refusal = gr.Error("Upload the file: paths and addresses are not opened.", print_exception=False)
        if any(isinstance(value, dict) and "://" in str(value.get("path")) for value in inputs):
            raise refusal
        try:
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except InvalidPathError as error:
            raise refusal from error
