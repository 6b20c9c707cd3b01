"""Probes: raw numbers for each subject, at named moments."""
