"""Readouts: who answers the exam?"""
