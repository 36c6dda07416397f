"""How far people agree who judged the same pairs."""
