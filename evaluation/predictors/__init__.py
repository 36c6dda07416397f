"""Holds the model under evaluation, and those that it is compared with."""
