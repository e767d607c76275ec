"""The catalogue, one family each."""
