"""Binance: spot and USD-margined futures, by REST and bulk archives. Coin-margined markets are not asked for yet."""
