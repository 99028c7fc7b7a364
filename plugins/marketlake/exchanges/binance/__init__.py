"""Binance: spot, USD-margined and (instrument list only) coin-margined futures, by REST and bulk archives."""
