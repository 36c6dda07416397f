"""The measures of uncertain inference, as plain functions (`measures`) and as an `evaluate` module."""
