"""How belief over time is measured where the exact probability of every prefix is known, and how that is shown."""
