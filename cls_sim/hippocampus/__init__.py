"""Hippocampi: fast memories of episodes."""
