"""The tables of the paper from prediction files, with the paper's numbers beside one's own."""
