"""Worlds: what sends experience, and exams."""
