# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""The measures of uncertain inference, as plain functions (`measures`) and as an `evaluate` module."""
