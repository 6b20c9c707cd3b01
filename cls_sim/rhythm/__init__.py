"""Rhythms: when does sleep come, and how long is a night?"""
