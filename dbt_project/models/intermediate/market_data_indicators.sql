{{
    config(
        materialized='written_once',
        indexes=[
            {'columns': ['symbol', 'timeframe', 'open_time'], 'unique': true},
            {'columns': ['publication_id']},
        ],
        pre_hook=[
            "{{ read_one_snapshot() }}",
            "{{ create_indicator_segment(ref('int_market_data_chosen'), ref('stg_bronze__ohlcv')) }}",
            "{{ create_indicator_walk(ref('int_market_data_chosen'), ref('stg_bronze__ohlcv'), this) }}",
            "{{ compute_in_workers() }}",
        ],
        post_hook=[
            "{{ index_indicator_blocks(this) }}",
            "{{ remember_progress() }}",
        ],
    )
}}

{#- The functions read ref('int_market_data_chosen') themselves; the walk deletes the rows that it replaces. -#}

-- depends_on: {{ ref('stg_ops__publications') }}
-- depends_on: {{ ref('stg_bronze__market_day_quality') }}
-- depends_on: {{ ref('stg_bronze__ohlcv') }}
-- depends_on: {{ ref('int_market_data_chosen') }}

with

{% if takes_changes() %}

    publications as (

        select * from {{ ref('stg_ops__publications') }}
        where dataset = 'ohlcv' and {{ is_new_publication() }}

    ),

    ranges as (

        select
            symbol,
            timeframe,
            unnest(range_agg(tstzrange(range_start, range_end))) as changed

        from publications

        group by symbol, timeframe

    ),

    changes as (

        select
            symbol,
            timeframe,
            array_agg(lower(changed) order by changed) as range_starts,
            array_agg(upper(changed) order by changed) as range_ends

        from ranges

        group by symbol, timeframe

    ),

    walked as (

        select
            changes.symbol,
            changes.timeframe,
            walk.*,
            {{ pinned_publication_id() }}::bigint as publication_id

        from changes
        cross join lateral {{ walk_schema() }}.indicator_walk(
            changes.symbol, changes.timeframe, changes.range_starts, changes.range_ends
        ) as walk

    )

{% else %}

    segments as not materialized (

        {{ market_segments() }}

    ),

    walked as (

        -- Postgres gives the parts of a union to its workers as they become free.
        {% for share in range(16) %}
            {{ 'union all' if not loop.first }}
            select
                segments.symbol,
                segments.timeframe,
                walk.*,
                {{ pinned_publication_id() }}::bigint as publication_id

            from segments
            cross join lateral {{ computed_segment('segments') }} as walk

            where (segments.place + hashtext(segments.symbol || segments.timeframe)) & 15 = {{ share }}
        {% endfor %}

    )

{% endif %}

select * from walked
