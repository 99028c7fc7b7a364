{#- Every market walked from its first candle, with nothing stored: what market_data_indicators must equal. -#}

with

candles as (

    select * from {{ ref('int_market_data_chosen') }}

),

markets as (

    select
        symbol,
        timeframe,
        array_agg(open_time order by open_time) as open_times,
        array_agg(high order by open_time) as highs,
        array_agg(low order by open_time) as lows,
        array_agg(close order by open_time) as closing,
        array_agg(volume order by open_time) as volumes,
        array_agg(quote_volume order by open_time) as quote_volumes

    from candles

    group by symbol, timeframe

),

walked as (

    select
        markets.symbol,
        markets.timeframe,
        walk.*

    from markets
    cross join lateral {{ walk_schema() }}.indicator_walk_of(
        markets.timeframe,
        markets.open_times,
        markets.highs,
        markets.lows,
        markets.closing,
        markets.volumes,
        markets.quote_volumes
    ) as walk

)

select * from walked
