"""Hippocampi: fast, sparse memories of episodes."""
