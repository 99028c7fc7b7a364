{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        pre_hook=[
            "{{ read_one_snapshot() }}",
            "{{ delete_changed(changed_market_days(), ['exchange', 'symbol', 'market_date']) }}",
        ],
        post_hook="{{ remember_progress() }}",
    )
}}

-- depends_on: {{ ref('stg_ops__publications') }}
-- depends_on: {{ ref('stg_bronze__market_day_quality') }}

with

days as (

    {% if is_incremental() %}
        {{ changed_market_days() }}
    {% else %}
        select distinct
            exchange,
            symbol,
            quality_date as market_date
        from {{ ref('stg_bronze__market_day_quality') }}
        where timeframe = '1m' or dataset = 'funding_rates'
    {% endif %}

),

measured as (

    select
        days.market_date,
        days.exchange,
        days.symbol,
        coalesce(candles.market_type, funding.market_type) as market_type,
        candles.open,
        candles.high,
        candles.low,
        candles.close,
        candles.volume,
        candles.squared_returns,
        before.close as previous_close,
        {{ utc_day('before.open_time') }} as previous_date,
        funding.funding_rate_sum,
        quality.present_rows::double precision / nullif(quality.expected_rows, 0) as coverage,
        coalesce(quality.rejected_rows, 0) as rejected_rows,
        candles.candle_count,
        candles.first_close

    from days
    inner join lateral (
        select
            min(moves.market_type) as market_type,
            count(*) as candle_count,
            (array_agg(moves.open order by moves.open_time))[1] as open,
            max(moves.high) as high,
            min(moves.low) as low,
            (array_agg(moves.close order by moves.open_time desc))[1] as close,
            (array_agg(moves.close order by moves.open_time))[1] as first_close,
            sum(moves.volume) as volume,
            -- In time order: sums of doubles in another one have other last digits.
            sum(
                power(ln(moves.close::double precision / moves.previous_close), 2)
                order by moves.open_time
            ) as squared_returns
        from (
            select
                minutes.*,
                lag(minutes.close) over (order by minutes.open_time)::double precision as previous_close
            from {{ ref('market_data') }} as minutes
            where
                minutes.exchange = days.exchange
                and minutes.symbol = days.symbol
                and minutes.timeframe = '1m'
                and minutes.open_time >= {{ day_start('days.market_date') }}
                and minutes.open_time < {{ day_start('(days.market_date + 1)') }}
        ) as moves
    ) as candles on true
    left join lateral (
        select
            minutes.close,
            minutes.open_time
        from {{ ref('market_data') }} as minutes
        where
            minutes.exchange = days.exchange
            and minutes.symbol = days.symbol
            and minutes.timeframe = '1m'
            and minutes.open_time < {{ day_start('days.market_date') }}
        order by minutes.open_time desc
        limit 1
    ) as before on candles.candle_count > 0
    inner join lateral (
        select
            min(events.market_type) as market_type,
            sum(events.funding_rate) as funding_rate_sum
        from {{ ref('funding_rates') }} as events
        where
            events.exchange = days.exchange
            and events.symbol = days.symbol
            and events.funding_time >= {{ day_start('days.market_date') }}
            and events.funding_time < {{ day_start('(days.market_date + 1)') }}
    ) as funding on true
    left join {{ ref('stg_bronze__market_day_quality') }} as quality
        on
            days.exchange = quality.exchange
            and days.symbol = quality.symbol
            and days.market_date = quality.quality_date
            and quality.dataset = 'ohlcv'
            and quality.timeframe = '1m'

    where candles.candle_count > 0 or funding.funding_rate_sum is not null

),

final as (

    select
        market_date,
        exchange,
        symbol,
        market_type,
        open,
        high,
        low,
        close,
        volume,
        case
            when previous_date = market_date - 1
                then close::double precision / previous_close::double precision - 1
        end as simple_return,
        case
            when squared_returns is not null or previous_close is not null
                then sqrt(365 * (
                    coalesce(squared_returns, 0)
                    + coalesce(power(ln(first_close::double precision / previous_close::double precision), 2), 0)
                ))
        end as realized_volatility,
        funding_rate_sum,
        coverage,
        rejected_rows,
        now() as refreshed_at

    from measured

)

select * from final
