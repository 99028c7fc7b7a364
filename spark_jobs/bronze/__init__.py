"""Landed files to bronze: conform, judge, commit."""
