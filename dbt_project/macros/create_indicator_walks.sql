{#- Make the function that walks over arrays of candles from the first one on; see indicator_walk.sql. -#}
{% macro create_indicator_walk_of() %}
{%- set given = [('high', 'numeric'), ('low', 'numeric'), ('close', 'numeric')] %}
create or replace function {{ walk_schema() }}.indicator_walk_of(
    market_timeframe text,
    open_times timestamptz[],
    highs numeric[],
    lows numeric[],
    closing numeric[],
    volumes numeric[],
    quote_volumes numeric[]
) {{ walk_returns([]) }}
language plpgsql
immutable
as $walk$
#variable_conflict use_column
declare
    {%- for name, type in given %}
    {{ name }} {{ type }};
    {%- endfor %}
    {{ walk_variables() }}
begin
    {{ walk_start() }}
    for {{ walk_targets(given) }} in
        {{ candles_in_order(
            'unnest(open_times, highs, lows, closing, volumes, quote_volumes)'
            ~ ' as candles (open_time, high, low, close, volume, quote_volume)',
            given,
        ) }}
    loop
        {{ walk_candle() }}
        {{ walk_return_row() }}
        {{ walk_step_on() }}
    end loop;
end;
$walk$
{% endmacro %}

{#-
    Make the function that computes a segment with nothing stored, or its part before `read_until`; see indicator_walk.sql.
    It only reads, so that several workers of a full refresh may run it. Its cost is 150 statements for each candle.
-#}
{% macro create_indicator_segment(candles, given) %}
create or replace function {{ walk_schema() }}.indicator_segment(
    market_symbol text,
    market_timeframe text,
    restart_at timestamptz,
    read_until timestamptz
) {{ walk_returns(carried_columns()) }}
language plpgsql
stable
parallel safe
cost {{ 150 * (segment_slots() | int) }}
rows {{ segment_slots() }}
as $walk$
#variable_conflict use_column
declare
    {{ walk_variables() }}
begin
    {{ walk_start() }}
    read_from := {{ warm_up_from('restart_at', given) }};
    for {{ walk_targets(carried_columns()) }} in
        {{ candles_in_order(candles_between(candles), carried_columns()) }}
    loop
        {{ walk_candle() }}
        if open_time >= restart_at then
            {{ walk_return_row() }}
        end if;
        {{ walk_step_on() }}
    end loop;
end;
$walk$
{% endmacro %}

{#-
    Make the function that walks over a market's chosen candles where they changed, in ranges that are sorted and do not
    overlap. What it returns replaces what is stored: it deletes the rows between a restart and the end of that walk.
    What it returned is not stored yet, so it never goes back: each walk begins where or after the one before ended.
-#}
{% macro create_indicator_walk(candles, given, stored) %}
create or replace function {{ walk_schema() }}.indicator_walk(
    market_symbol text,
    market_timeframe text,
    range_starts timestamptz[],
    range_ends timestamptz[]
) {{ walk_returns(carried_columns()) }}
language plpgsql
as $walk$
#variable_conflict use_column
declare
    {{ walk_variables() }}
    range_place integer := 1;
    changed_from timestamptz;
    changed_until timestamptz := '-infinity';
    -- The start of a segment that follows from the one before.
    next_segment timestamptz;
    -- The first candle of a block since which nothing changed.
    unchanged_from integer;
    -- Candles before `walk_from` only fill the windows; rows are returned from `restart_at` to before `walked_until`.
    walk_from timestamptz;
    restart_at timestamptz;
    read_until timestamptz;
    walked_until timestamptz;
    state double precision[];
begin
    while next_segment is not null or range_place <= cardinality(range_starts) loop
        {{ walk_start() }}
        changed_from := coalesce(next_segment, range_starts[range_place]);
        {{ take_ranges('range_starts[range_place] <= changed_from') }}
        {{ walk_restart(given, stored) }}
        read_until := {{ segment_start('changed_from', 'market_timeframe') }}
            + {{ segment_length('market_timeframe') }};
        walked_until := read_until;
        unchanged_from := null;
        for {{ walk_targets(carried_columns()) }} in
            {{ candles_in_order(candles_between(candles), carried_columns()) }}
        loop
            {{ walk_look() }}
            if open_time < walk_from then
                {{ walk_windows() }}
                day_end := date_trunc('day', open_time, 'UTC') + interval '1 day';
                {{ walk_step_on() }}
                continue;
            end if;
            state_before := null;
            if open_time >= block_end then
                {{ walk_begin_block() }}
                {{ take_ranges('range_starts[range_place] < block_end') }}
                if open_time < changed_until then
                    unchanged_from := null;
                elsif unchanged_from is null or previous_open_time < changed_until then
                    -- A change may lie between the two candles, where nothing is left of a whole block.
                    unchanged_from := t;
                end if;
                -- From here on, all that a row looks back to is as it was when the stored rows were computed.
                if
                    open_time >= restart_at
                    and t - unchanged_from >= {{ look_back_candles() }}
                    and {{ walk_agrees(stored) }}
                then
                    walked_until := open_time;
                    exit;
                end if;
            end if;
            {{ walk_windows() }}
            {{ walk_step() }}
            if open_time >= restart_at then
                {{ walk_return_row() }}
            end if;
            {{ walk_step_on() }}
        end loop;
        delete from {{ stored }} as stored
        where stored.symbol = market_symbol
            and stored.timeframe = market_timeframe
            and stored.open_time >= restart_at
            and stored.open_time < walked_until;
        if walked_until = read_until then
            {{ take_ranges('range_starts[range_place] < read_until') }}
        end if;
        {{ walk_into_next_segment(given, stored) }}
    end loop;
end;
$walk$
{% endmacro %}

{#- Compute a candle from nothing stored; its block begins with it where it is the first. -#}
{% macro walk_candle() %}
        {{ walk_look() }}
        state_before := null;
        if open_time >= block_end then
            {{ walk_begin_block() }}
        end if;
        {{ walk_windows() }}
        {{ walk_step() }}
{% endmacro %}

{#- What the functions return: a candle's indicators, and what they carry of it. -#}
{% macro walk_returns(carried) -%}
returns table (
    open_time timestamptz
    {%- for name, type in carried + walk_columns() %},
    {{ name }} {{ type }}
    {%- endfor %}
)
{%- endmacro %}

{#- The market's instants before one, the newest first; several exchanges may share one. -#}
{% macro instants_before(instant, given) -%}
        select distinct given.open_time
        from {{ given }} as given
        where given.symbol = market_symbol
            and given.timeframe = market_timeframe
            and given.open_time < {{ instant }}
        order by given.open_time desc
{%- endmacro %}

{#- Where the walk begins to read for a segment: `warm_up_candles` before it, or at the market's first candle. -#}
{% macro warm_up_from(segment, given) -%}
    coalesce((
        {{ instants_before(segment, given) }}
        limit 1 offset {{ (warm_up_candles() | int) - 1 }}
    ), '-infinity')
{%- endmacro %}

{#- Take the next ranges, while the condition holds, for ones that this walk follows. -#}
{% macro take_ranges(condition) %}
        while range_place <= cardinality(range_starts) and {{ condition }} loop
            changed_until := greatest(changed_until, range_ends[range_place]);
            range_place := range_place + 1;
        end loop;
{% endmacro %}

{#- Find the last stored state of the segment at or before the change; without one, begin at the segment's start. -#}
{% macro walk_restart(given, stored) %}
        select stored.state_before, stored.open_time into state, restart_at
        from {{ stored }} as stored
        where stored.symbol = market_symbol
            and stored.timeframe = market_timeframe
            and stored.open_time >= {{ segment_start('changed_from', 'market_timeframe') }}
            and stored.open_time <= changed_from
            and stored.state_before is not null
            and next_segment is null
        order by stored.open_time desc
        limit 1;
        if state is null then
            restart_at := {{ segment_start('changed_from', 'market_timeframe') }};
            read_from := {{ warm_up_from('restart_at', given) }};
            walk_from := read_from;
        else
            t := state[1];
            {{ walk_weights() }}
            {%- for name in walk_state() %}
            {{ name }} := state[{{ loop.index + 1 }}];
            {%- endfor %}
            for back in reverse 100..1 loop
                recent_natrs[(t - back) & 127] := state[{{ walk_state() | length + 102 }} - back];
            end loop;
            -- Not from the stored rows: those that a walk before this one replaces are gone from there.
            select coalesce(min(before.open_time), restart_at), count(*) into read_from, t
            from (
                {{ instants_before('restart_at', given) }}
                limit {{ look_back_candles() }}
            ) as before;
            t := state[1] - t;
            walk_from := restart_at;
        end if;
{% endmacro %}

{#- Whether the state before this candle is the stored one, to the last bit. -#}
{% macro walk_agrees(stored) -%}
    exists (
        select from {{ stored }} as stored
        where stored.symbol = market_symbol
            and stored.timeframe = market_timeframe
            and stored.open_time = indicator_walk.open_time
            and stored.state_before = indicator_walk.state_before
    )
{%- endmacro %}

{#-
    After the last change of a segment, go on to the next one with rows: where the walk came to the segment's end, and
    where the change lies among the candles from which the next segment begins.
-#}
{% macro walk_into_next_segment(given, stored) %}
        next_segment := null;
        if range_place > cardinality(range_starts) or range_starts[range_place] >= read_until then
            select {{ segment_start('min(following.open_time)', 'market_timeframe') }} into next_segment
            from (
                {%- for rows in [given, stored] %}
                {{ 'union all' if not loop.first }}
                (
                    select later.open_time
                    from {{ rows }} as later
                    where later.symbol = market_symbol
                        and later.timeframe = market_timeframe
                        and later.open_time >= read_until
                    order by later.open_time
                    limit 1
                )
                {%- endfor %}
            ) as following;
            if walked_until < read_until and changed_until <= {{ warm_up_from('next_segment', given) }} then
                next_segment := null;
            end if;
            {{ take_ranges('range_starts[range_place] < next_segment') }}
        end if;
{% endmacro %}

{#- The rows that hold state, found without a scan; after a full refresh the planner needs figures at once,
    but of keys only. -#}
{% macro index_indicator_blocks(relation) %}
    create index if not exists market_data_indicators_blocks
    on {{ relation }} (symbol, timeframe, open_time) where state_before is not null;
    {% if not takes_changes() %}
    analyze {{ relation }} (symbol, timeframe, open_time, block_start, state_before, publication_id);
    {% endif %}
{% endmacro %}

{#- The segments between each market's first and last day with candles. -#}
{% macro market_segments() %}
    select
        markets.symbol,
        markets.timeframe,
        segments.segment_start,
        segments.place
    from (
        select
            symbol,
            timeframe,
            {{ day_start('min(quality_date)') }} as starts_at,
            {{ day_start('(max(quality_date) + 1)') }} as ends_at
        from {{ ref('stg_bronze__market_day_quality') }}
        where dataset = 'ohlcv'
        group by symbol, timeframe
    ) as markets
    cross join lateral generate_series(
        {{ segment_start('markets.starts_at', 'markets.timeframe') }},
        markets.ends_at,
        {{ segment_length('markets.timeframe') }}
    ) with ordinality as segments (segment_start, place)
{% endmacro %}

{#- The rows of a segment of `market_segments`. -#}
{% macro computed_segment(segments) -%}
    {{ walk_schema() }}.indicator_segment(
        {{ segments }}.symbol,
        {{ segments }}.timeframe,
        {{ segments }}.segment_start,
        {{ segments }}.segment_start + {{ segment_length(segments ~ '.timeframe') }}
    )
{%- endmacro %}

{#-
    Pre-hook: let workers compute the segments. The process that writes the rows computes none, since workers that wait for
    it compute none either. What handing a row over costs is left out, since Postgres counts a function that it calls for
    each segment once.
-#}
{% macro compute_in_workers() %}
    set local parallel_leader_participation = off;
    set local parallel_tuple_cost = 0
{% endmacro %}
