{#- No CTE: Postgres does not flatten a view that has one, and a look-up of one row would sort the table. -#}

select
    exchange,
    market_type,
    symbol,
    exchange_symbol,
    timeframe,
    open_time,
    close_time,
    open,
    high,
    low,
    close,
    volume,
    quote_volume,
    trade_count,
    taker_buy_volume,
    taker_buy_quote_volume,
    reported_close_time,
    source,
    revision,
    received_at,
    known_at

from {{ source('bronze', 'ohlcv') }}
