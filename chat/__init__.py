"""Asks chat models for probabilities: what is asked, of a server or a model here, and what the answer says."""
