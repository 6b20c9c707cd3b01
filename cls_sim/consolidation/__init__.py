"""Consolidation: in which direction do weights move, which are held?"""
