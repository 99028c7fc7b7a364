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
    grid of each timeframe they hold the ranges of base candles published since its last build, and the candle that was
    open then: a later range may have closed it without touching it. base_end is where the market's base ends as of the
    pinned publication; a candle that ends after it is still open.
-#}
{% macro resampled_slots() %}
    with changed as (
        select
            exchange,
            symbol,
            range_start,
            range_end
        from {{ ref('stg_ops__publications') }}
        where dataset = 'ohlcv'
            and timeframe = '{{ var("resampling_base") }}'
            {% if takes_changes() %}
            and {{ is_new_publication() }}
            {% endif %}
    ),
    published as (
        select
            publication_id,
            exchange,
            symbol,
            range_end
        from {{ ref('stg_ops__publications') }}
        where dataset = 'ohlcv'
            and timeframe = '{{ var("resampling_base") }}'
            and publication_id <= {{ pinned_publication_id() }}
            and (exchange, symbol) in (select changed.exchange, changed.symbol from changed)
    ),
    markets as (
        select exchange, symbol, max(range_end) as base_end
        from published
        group by exchange, symbol
    )
    {% if takes_changes() %}
    , touched as (
        select * from changed
        union all
        select exchange, symbol, max(range_end) - interval '1 microsecond', max(range_end)
        from published
        where publication_id <= {{ last_publication_id() }}
        group by exchange, symbol
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
        {{ slot_start('markets.base_end', 'timeframes.length') }} as closed_until
    from markets
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

{#- Pre-hook of market_data_resampled: take away the candles that it computes again. -#}
{% macro delete_resampled_slots() %}
    {% if takes_changes() %}
    delete from {{ this }} as resampled
    using ({{ resampled_slots() }}) as slots
    where resampled.exchange = slots.exchange
        and resampled.symbol = slots.symbol
        and resampled.timeframe = slots.timeframe
        and resampled.open_time >= slots.starts_at
        and resampled.open_time < slots.ends_at
    {% endif %}
{% endmacro %}

{#- A sum with an unknown part is unknown. -#}
{% macro known_sum(value) -%}
    case when count({{ value }}) = count(*) then sum({{ value }}) end
{%- endmacro %}
