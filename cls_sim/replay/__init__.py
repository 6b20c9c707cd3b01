"""Replay policies: which episodes tonight, in what proportion?"""
