"""Builds configs of any source: drafts of rows, their clips and checks, and the writer."""
