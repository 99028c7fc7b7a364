"""Reading what the lake proves about itself: coverage and gaps by market, dead-letter rows and their reasons."""
