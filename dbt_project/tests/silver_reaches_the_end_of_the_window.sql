{#-
    Recency, measured against the run's window and never against the clock: where the day counts say that a market has
    candles on the window's last day, silver has some of that day. Passes where the run has no window. Markets published
    after this build's pin come with the next one.
-#}

{%- set window_end = var('window_end', '') or '-infinity' %}

with

last_day as (

    select distinct
        symbol,
        timeframe,
        {{ day_start('quality_date') }} as starts_at

    from {{ ref('stg_bronze__market_day_quality') }}

    where
        dataset = 'ohlcv'
        and present_rows > 0
        and quality_date = {{ utc_day("timestamptz '" ~ window_end ~ "' - interval '1 microsecond'") }}

),

late as (

    select last_day.*

    from last_day

    where
        not exists (
            select 1
            from {{ ref('market_data_indicators') }} as stored
            where
                stored.symbol = last_day.symbol
                and stored.timeframe = last_day.timeframe
                and stored.open_time >= last_day.starts_at
                and stored.open_time < last_day.starts_at + interval '24 hours'
        )

)

select * from late
where not {{ is_published_later('late', ['symbol', 'timeframe'], dataset='ohlcv') }}
