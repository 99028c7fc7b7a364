{#- Resampling (TRF-12) from any timeframe to multiples of it. -#}

{#- The timeframes that silver resamples to, their lengths, and how many base candles fit into each. -#}
{% macro resampled_timeframes() %}
    select
        wanted.timeframe,
        {{ timeframe_length('wanted.timeframe') }} as length,
        (
            extract(epoch from {{ timeframe_length('wanted.timeframe') }})
            / extract(epoch from {{ timeframe_length("'" ~ var("resampling_base") ~ "'") }})
        )::bigint as base_candles
    from unnest(string_to_array('{{ var("resampled_timeframes") | join(",") }}', ',')) as wanted (timeframe)
{% endmacro %}

{#- Pre-hook: refuse what is no whole multiple of the base. -#}
{% macro check_resampling() %}
do $check$
declare
    readable constant text := '^[1-9][0-9]{0,3}[mhd]$';
    base constant text := '{{ var("resampling_base") }}';
    wrong text;
begin
    select string_agg(timeframe, ', ') into wrong
    from unnest(string_to_array('{{ var("resampled_timeframes") | join(",") }}', ',')) as timeframe
    where case
        when timeframe !~ readable or base !~ readable then true
        else timeframe::interval <= base::interval
            or extract(epoch from timeframe::interval) % extract(epoch from base::interval) <> 0
    end;
    if wrong is not null then
        raise exception 'resampled_timeframes must be whole multiples of resampling_base, a number and m, h or d like'
            ' 15m, and longer than it; resampling_base was %, and these were not: %', base, wrong;
    end if;
end;
$check$
{% endmacro %}

{#-
    The slots that a build of market_data_resampled computes, as ranges of open times by market and timeframe. On the
    grid of each timeframe they hold the ranges of base candles published since its last build, and of each range the
    candle before it, which the range may have closed, or opened again where it lost the newest. A candle is closed once
    its market has a base candle that ends with it or later: so rows follow from rows, not from when they were published.
-#}
{% macro resampled_slots() %}
    {% if takes_changes() %}
    with changed as (
        select exchange, symbol, range_start, range_end
        from {{ ref('stg_ops__publications') }}
        where dataset = 'ohlcv'
            and timeframe = '{{ var("resampling_base") }}'
            and {{ is_new_publication() }}
    ),
    touched as (
        select * from changed
        union all
        select changed.exchange, changed.symbol, before.open_time, before.close_time
        from changed
        cross join lateral (
            select candles.open_time, candles.close_time
            from {{ ref('market_data') }} as candles
            where candles.exchange = changed.exchange
                and candles.symbol = changed.symbol
                and candles.timeframe = '{{ var("resampling_base") }}'
                and candles.open_time < changed.range_start
            order by candles.open_time desc
            limit 1
        ) as before
    ),
    markets as (
        select distinct exchange, symbol
        from changed
    )
    {% else %}
    with markets as (
        select distinct exchange, symbol
        from {{ ref('stg_bronze__market_day_quality') }}
        where dataset = 'ohlcv' and timeframe = '{{ var("resampling_base") }}'
    )
    {% endif %}
    select
        markets.exchange,
        markets.symbol,
        timeframes.timeframe,
        timeframes.length,
        timeframes.base_candles as expected_base_candles,
        ranges.starts_at,
        ranges.ends_at,
        {{ slot_start('newest.close_time', 'timeframes.length') }} as closed_until
    from markets
    left join lateral (
        select candles.close_time
        from {{ ref('market_data') }} as candles
        where candles.exchange = markets.exchange
            and candles.symbol = markets.symbol
            and candles.timeframe = '{{ var("resampling_base") }}'
        order by candles.open_time desc
        limit 1
    ) as newest on true
    cross join ({{ resampled_timeframes() }}) as timeframes
    {% if takes_changes() %}
    cross join lateral (
        select
            lower(joined.slots) as starts_at,
            upper(joined.slots) as ends_at
        from (
            select unnest(range_agg(tstzrange(
                {{ slot_start('touched.range_start', 'timeframes.length') }},
                {{ slot_start("touched.range_end - interval '1 microsecond'", 'timeframes.length') }} + timeframes.length
            ))) as slots
            from touched
            where touched.exchange = markets.exchange and touched.symbol = markets.symbol
        ) as joined
    ) as ranges
    {% else %}
    cross join (
        select
            '-infinity'::timestamptz as starts_at,
            'infinity'::timestamptz as ends_at
    ) as ranges
    {% endif %}
{% endmacro %}

{#- A sum with an unknown part is unknown. -#}
{% macro known_sum(value) -%}
    case when count({{ value }}) = count(*) then sum({{ value }}) end
{%- endmacro %}
