{#-
    Each base candle of a day is in one resampled candle of each timeframe: count, volume and extremes of the days that
    a market's newest one has left behind are the same. Markets published after this build's pin come with the next one.
-#}

with

ends as (

    select
        exchange,
        symbol,
        {{ day_start(utc_day('max(close_time)')) }} as whole_until

    from {{ ref('market_data') }}

    where timeframe = '{{ var("resampling_base") }}'

    group by exchange, symbol

),

base as (

    select
        candles.exchange,
        candles.symbol,
        {{ utc_day('candles.open_time') }} as market_date,
        count(*)::numeric as base_candles,
        sum(candles.volume) as volume,
        max(candles.high) as high,
        min(candles.low) as low

    from {{ ref('market_data') }} as candles
    inner join ends on candles.exchange = ends.exchange and candles.symbol = ends.symbol

    where candles.timeframe = '{{ var("resampling_base") }}' and candles.open_time < ends.whole_until

    group by candles.exchange, candles.symbol, {{ utc_day('candles.open_time') }}

),

expected as (

    select
        timeframes.timeframe,
        base.*

    from base
    cross join ({{ resampled_timeframes() }}) as timeframes

),

resampled as (

    select
        candles.timeframe,
        candles.exchange,
        candles.symbol,
        {{ utc_day('candles.open_time') }} as market_date,
        sum(candles.base_candles) as base_candles,
        sum(candles.volume) as volume,
        max(candles.high) as high,
        min(candles.low) as low

    from {{ ref('market_data_resampled') }} as candles
    inner join ends on candles.exchange = ends.exchange and candles.symbol = ends.symbol

    where candles.open_time < ends.whole_until

    group by candles.timeframe, candles.exchange, candles.symbol, {{ utc_day('candles.open_time') }}

),

differing as (

    {{ difference('expected', 'resampled') }}

)

select * from differing
where not {{ is_published_later('differing', ['exchange', 'symbol'], dataset='ohlcv') }}
