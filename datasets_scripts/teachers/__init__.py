"""Teachers: models that are asked for the probability of a hypothesis, behind a server or on this machine."""
