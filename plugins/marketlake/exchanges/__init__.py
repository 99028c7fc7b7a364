"""Exchanges: one registry entry each, their clients, archive layouts, instrument lists and file readers."""
