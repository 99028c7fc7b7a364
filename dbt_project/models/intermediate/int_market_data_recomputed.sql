{#-
    Every segment of every market walked from the first of its warm-up candles, with nothing stored: what
    market_data_indicators must equal. It cuts the segments by itself, from the candles' places in their market.
-#}

with

candles as (

    select
        *,
        {{ segment_start('open_time', 'timeframe') }} as segment_start,
        row_number() over (partition by symbol, timeframe order by open_time) as place

    from {{ ref('int_market_data_chosen') }}

),

borders as (

    select
        symbol,
        timeframe,
        segment_start,
        min(place) - {{ warm_up_candles() }} as first_place,
        max(place) as last_place

    from candles

    group by symbol, timeframe, segment_start

),

segments as (

    select
        borders.symbol,
        borders.timeframe,
        borders.segment_start,
        array_agg(candles.open_time order by candles.place) as open_times,
        array_agg(candles.high order by candles.place) as highs,
        array_agg(candles.low order by candles.place) as lows,
        array_agg(candles.close order by candles.place) as closing,
        array_agg(candles.volume order by candles.place) as volumes,
        array_agg(candles.quote_volume order by candles.place) as quote_volumes

    from borders
    inner join candles
        on
            borders.symbol = candles.symbol
            and borders.timeframe = candles.timeframe
            and candles.place between borders.first_place and borders.last_place

    group by borders.symbol, borders.timeframe, borders.segment_start

),

walked as (

    select
        segments.symbol,
        segments.timeframe,
        walk.*

    from segments
    inner join lateral {{ walk_schema() }}.indicator_walk_of(
        segments.timeframe,
        segments.open_times,
        segments.highs,
        segments.lows,
        segments.closing,
        segments.volumes,
        segments.quote_volumes
    ) as walk on segments.segment_start <= walk.open_time

)

select * from walked
