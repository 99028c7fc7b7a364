with

candles as (

    select * from {{ source('bronze', 'ohlcv') }}

),

renamed as (

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

    from candles

)

select * from renamed
