{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns' if flags.FULL_REFRESH else 'fail',
        full_refresh=false,
        pre_hook=[
            "{{ read_one_snapshot() }}",
            "{{ check_resampling() }}",
            "{{ forget_rows() }}",
            "{{ delete_changed(resampled_slots(), ['exchange', 'symbol', 'timeframe'], 'open_time') }}",
        ],
        post_hook="{{ remember_progress() }}",
    )
}}

-- depends_on: {{ ref('stg_ops__publications') }}
-- depends_on: {{ ref('stg_bronze__market_day_quality') }}

with

slots as (

    {{ resampled_slots() }}

),

resampled as (

    -- The sums stand inside the lateral query, which makes it a look-up by index for each range.
    select
        slots.exchange,
        slots.symbol,
        slots.timeframe,
        slots.length,
        slots.expected_base_candles,
        sums.*

    from slots
    cross join lateral (
        select
            {{ slot_start('candles.open_time', 'slots.length') }} as slot,
            min(candles.market_type) as market_type,
            (array_agg(candles.open order by candles.open_time))[1] as open,
            max(candles.high) as high,
            min(candles.low) as low,
            (array_agg(candles.close order by candles.open_time desc))[1] as close,
            sum(candles.volume) as volume,
            {{ known_sum('candles.quote_volume') }} as quote_volume,
            {{ known_sum('candles.trade_count') }}::bigint as trade_count,
            {{ known_sum('candles.taker_buy_volume') }} as taker_buy_volume,
            {{ known_sum('candles.taker_buy_quote_volume') }} as taker_buy_quote_volume,
            count(*) as base_candles,
            max(candles.received_at) as received_at,
            max(candles.known_at) as known_at

        from {{ ref('market_data') }} as candles

        where
            candles.exchange = slots.exchange
            and candles.symbol = slots.symbol
            and candles.timeframe = '{{ var("resampling_base") }}'
            and candles.open_time >= slots.starts_at
            and candles.open_time < slots.ends_at
            and candles.open_time < slots.closed_until

        group by slot
    ) as sums

),

final as (

    select
        exchange,
        symbol,
        timeframe,
        slot as open_time,
        slot + length as close_time,
        market_type,
        open,
        high,
        low,
        close,
        volume,
        quote_volume,
        trade_count,
        taker_buy_volume,
        taker_buy_quote_volume,
        '{{ var("resampling_base") }}' as base_timeframe,
        base_candles,
        expected_base_candles,
        base_candles = expected_base_candles as is_complete,
        received_at,
        known_at

    from resampled

)

select * from final
