{#- UTC days, whatever zone the session has. -#}

{% macro utc_day(instant) -%}
    (({{ instant }}) at time zone 'UTC')::date
{%- endmacro %}

{% macro day_start(day) -%}
    ({{ day }}::timestamp at time zone 'UTC')
{%- endmacro %}

{#-
    The market days that an incremental build of mart_market_daily has to compute again: those of the ranges published
    since its last one, and of each market the next day with candles, whose first return reaches back into the range.
-#}
{% macro changed_market_days() %}
    select
        published.exchange,
        published.symbol,
        days.day::date as market_date
    from {{ ref('stg_ops__publications') }} as published
    cross join lateral generate_series(
        {{ utc_day('published.range_start') }}::timestamp,
        {{ utc_day("published.range_end - interval '1 microsecond'") }}::timestamp,
        interval '1 day'
    ) as days (day)
    where (published.timeframe = '1m' or published.dataset = 'funding_rates')
        and {{ is_new_publication('published.publication_id') }}
    union
    select
        published.exchange,
        published.symbol,
        {{ utc_day('following.open_time') }} as market_date
    from {{ ref('stg_ops__publications') }} as published
    cross join lateral (
        select candles.open_time
        from {{ ref('market_data') }} as candles
        where candles.exchange = published.exchange
            and candles.symbol = published.symbol
            and candles.timeframe = '1m'
            and candles.open_time >= published.range_end
        order by candles.open_time
        limit 1
    ) as following
    where published.dataset = 'ohlcv'
        and published.timeframe = '1m'
        and {{ is_new_publication('published.publication_id') }}
{% endmacro %}

{#-
    The same for mart_market_regime_stats. A late candle changes rows of silver beyond its own range, so the days come
    from the rows that were written since, and from the published ranges, where rows may have gone.
-#}
{% macro changed_regime_days() %}
    with touched as (
        select distinct
            measured.symbol,
            measured.timeframe,
            {{ utc_day('measured.open_time') }} as stats_date
        from {{ ref('int_market_data_measured') }} as measured
        where {{ is_new_publication('measured.publication_id') }}
        union
        select
            published.symbol,
            published.timeframe,
            days.day::date as stats_date
        from {{ ref('stg_ops__publications') }} as published
        cross join lateral generate_series(
            {{ utc_day('published.range_start') }}::timestamp,
            {{ utc_day("published.range_end - interval '1 microsecond'") }}::timestamp,
            interval '1 day'
        ) as days (day)
        where published.dataset = 'ohlcv' and {{ is_new_publication('published.publication_id') }}
    )
    select * from touched
    union
    select
        touched.symbol,
        touched.timeframe,
        {{ utc_day('following.open_time') }} as stats_date
    from touched
    cross join lateral (
        select measured.open_time
        from {{ ref('int_market_data_measured') }} as measured
        where measured.symbol = touched.symbol
            and measured.timeframe = touched.timeframe
            and measured.open_time >= {{ day_start('(touched.stats_date + 1)') }}
        order by measured.open_time
        limit 1
    ) as following
{% endmacro %}
