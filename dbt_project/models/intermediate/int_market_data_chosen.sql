with

candles as (

    select * from {{ ref('stg_bronze__ohlcv') }}

),

ranked as (

    select
        *,
        row_number() over (
            partition by symbol, timeframe, open_time
            order by {{ exchange_rank('exchange', 'symbol') }}, exchange
        ) as place,
        count(*) over (partition by symbol, timeframe, open_time) as candidate_count

    from candles

),

chosen as (

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

    from ranked

    where place = 1

)

select * from chosen
