"""What a stress test of the urn world tells of a predictor: cells, tests, findings, and how they are shown."""
