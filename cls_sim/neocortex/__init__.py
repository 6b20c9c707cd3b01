"""Neocortices: slow learners, computed for all subjects at once."""
