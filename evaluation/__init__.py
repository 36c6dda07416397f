# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Evaluation of uncertain inference: predictions, measures with intervals, baselines, tables and figures."""
