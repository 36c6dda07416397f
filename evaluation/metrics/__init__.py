# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Modules for the `evaluate` library; each folder also loads on its own with `evaluate.load(folder)`."""
