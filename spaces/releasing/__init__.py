"""What a Space on the Hub is made of: the files of its folder, and its settings."""
