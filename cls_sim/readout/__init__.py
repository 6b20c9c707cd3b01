"""Readouts: the rules that answer questions with the neocortex, the hippocampus or both."""
