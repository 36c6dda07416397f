"""What every source is built with: drafts of rows, checks, clips, and the writer of a config."""
