{{
    config(
        materialized='written_once',
        indexes=[
            {'columns': ['symbol', 'timeframe', 'open_time'], 'unique': true},
            {'columns': ['publication_id']},
        ],
        pre_hook=[
            "{{ read_one_snapshot() }}",
            "{{ create_indicator_walk(ref('int_market_data_chosen'), this) }}",
        ],
        post_hook=[
            "{{ index_indicator_blocks(this) }}",
            "{{ remember_progress() }}",
        ],
    )
}}

{#- The walk reads ref('int_market_data_chosen') itself, a market at a time, and deletes the rows that it replaces. -#}

-- depends_on: {{ ref('stg_ops__publications') }}
-- depends_on: {{ ref('stg_bronze__market_day_quality') }}
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

{% else %}

    market_days as (

        select * from {{ ref('stg_bronze__market_day_quality') }}
        where dataset = 'ohlcv'

    ),

    changes as (

        select
            symbol,
            timeframe,
            array['-infinity'::timestamptz] as range_starts,
            array['infinity'::timestamptz] as range_ends

        from market_days

        group by symbol, timeframe

    ),

{% endif %}

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

select * from walked
