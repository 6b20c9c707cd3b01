"""Rhythms: when subjects sleep, and for how long."""
