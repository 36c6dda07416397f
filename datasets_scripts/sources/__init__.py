"""One module a source: each turns its raw material into rows of `datasets_scripts.schema`."""
