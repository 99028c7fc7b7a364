{#-
    No CTE: Postgres does not flatten a view that has one, and the order of the key is lost. One look along the key tells
    how many exchanges have a candle; only where several do are they ranked.
-#}

select
    symbol,
    timeframe,
    open_time,
    close_time,
    exchange,
    market_type,
    open,
    high,
    low,
    close,
    volume,
    quote_volume,
    trade_count,
    taker_buy_volume,
    source,
    candidate_count

from (
    select
        *,
        count(*) over (partition by symbol, timeframe, open_time) as candidate_count
    from {{ ref('stg_bronze__ohlcv') }}
) as counted

where
    candidate_count = 1
    or not exists (
        select 1
        from {{ ref('stg_bronze__ohlcv') }} as others
        where
            others.symbol = counted.symbol
            and others.timeframe = counted.timeframe
            and others.open_time = counted.open_time
            and ({{ exchange_rank('others.exchange', 'others.symbol') }}, others.exchange)
            < ({{ exchange_rank('counted.exchange', 'counted.symbol') }}, counted.exchange)
    )
