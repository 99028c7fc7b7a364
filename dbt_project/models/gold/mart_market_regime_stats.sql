{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        pre_hook=[
            "{{ read_one_snapshot() }}",
            "{{ delete_changed(changed_regime_days(), ['symbol', 'timeframe', 'stats_date']) }}",
        ],
        post_hook="{{ remember_progress() }}",
    )
}}

-- depends_on: {{ ref('stg_ops__publications') }}

with

days as (

    {% if is_incremental() %}
        {{ changed_regime_days() }}
    {% else %}
        select distinct
            symbol,
            timeframe,
            {{ utc_day('open_time') }} as stats_date
        from {{ ref('int_market_data_measured') }}
    {% endif %}

),

candles as (

    -- The windows stand inside the lateral query, which makes it a look-up by index for each day.
    select
        days.stats_date,
        days.symbol,
        days.timeframe,
        candles.market_regime,
        candles.simple_return,
        candles.natr_14,
        candles.place,
        coalesce(candles.previous_regime, before.market_regime) as previous_regime

    from days
    inner join lateral (
        select
            measured.market_regime,
            measured.simple_return,
            measured.natr_14,
            lag(measured.market_regime) over (order by measured.open_time) as previous_regime,
            row_number() over (order by measured.open_time) as place
        from {{ ref('int_market_data_measured') }} as measured
        where
            measured.symbol = days.symbol
            and measured.timeframe = days.timeframe
            and measured.open_time >= {{ day_start('days.stats_date') }}
            and measured.open_time < {{ day_start('(days.stats_date + 1)') }}
            and measured.market_regime is not null
    ) as candles on true
    left join lateral (
        select measured.market_regime
        from {{ ref('int_market_data_measured') }} as measured
        where
            measured.symbol = days.symbol
            and measured.timeframe = days.timeframe
            and measured.open_time < {{ day_start('days.stats_date') }}
        order by measured.open_time desc
        limit 1
    ) as before on candles.place = 1

),

counted as (

    select
        stats_date,
        symbol,
        timeframe,
        market_regime,
        count(*) as candles,
        -- In time order: sums of doubles in another one have other last digits.
        avg(simple_return order by place) as average_return,
        stddev_samp(simple_return order by place) as return_volatility,
        avg(natr_14 order by place) as average_atr_pct,
        count(*) filter (where previous_regime <> market_regime) as regime_changes,
        count(*) filter (where place = 1 or previous_regime <> market_regime) as regime_runs

    from candles

    group by stats_date, symbol, timeframe, market_regime

),

final as (

    select
        stats_date,
        symbol,
        timeframe,
        market_regime,
        candles,
        candles::double precision / sum(candles) over (partition by stats_date, symbol, timeframe) as time_share,
        average_return,
        return_volatility,
        average_atr_pct,
        regime_changes,
        candles::double precision / regime_runs as average_regime_candles,
        now() as refreshed_at

    from counted

)

select * from final
