"""Evaluation of uncertain inference: predictions, measures with intervals, baselines, tables and figures."""
