{#-
    The candles of a mart's day are those of silver with a known regime, and their shares add up to one. Markets
    published after this build's pin come with the next one.
-#}

with

silver as (

    select
        symbol,
        timeframe,
        {{ utc_day('open_time') }} as stats_date,
        count(*)::numeric as candles,
        1::numeric as time_share

    from {{ ref('int_market_data_measured') }}

    where market_regime is not null

    group by symbol, timeframe, {{ utc_day('open_time') }}

),

mart as (

    select
        symbol,
        timeframe,
        stats_date,
        sum(candles) as candles,
        round(sum(time_share)::numeric, 9) as time_share

    from {{ ref('mart_market_regime_stats') }}

    group by symbol, timeframe, stats_date

),

differing as (

    {{ difference('silver', 'mart') }}

)

select * from differing
where not {{ is_published_later('differing', ['symbol', 'timeframe'], dataset='ohlcv') }}
