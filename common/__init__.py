"""What commands of every folder share: their options and errors, files, digests, cards, and the Hub."""
