"""Neocortices: slow learners, stacked over subjects."""
