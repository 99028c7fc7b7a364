"""Mixes of faults drawn from seeds: what is drawn, the world it acts on, and the truth that the end is held against."""
