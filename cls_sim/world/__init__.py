"""Worlds: sources of experience and evaluations."""
