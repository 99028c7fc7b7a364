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
) returns table (
    open_time timestamptz
    {%- for name, type in walk_columns() %},
    {{ name }} {{ type }}
    {%- endfor %}
)
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
        with candles as (
            select given.*
            from unnest(open_times, highs, lows, closing, volumes, quote_volumes)
                as given (open_time, high, low, close, volume, quote_volume)
        )
        {{ candles_in_order(given) }}
    loop
        {{ walk_look() }}
        state_before := null;
        if open_time >= block_end then
            {{ walk_begin_block() }}
        end if;
        {{ walk_windows() }}
        {{ walk_step() }}
        {{ walk_return_row() }}
        {{ walk_step_on() }}
    end loop;
end;
$walk$
{% endmacro %}

{#-
    Make the function that walks over a market's chosen candles where they changed, in ranges that are sorted and do not
    overlap. What it returns replaces what is stored: it deletes the rows between a restart and the end of that walk. A
    range from -infinity starts at the market's first candle and looks at nothing that is stored.
-#}
{% macro create_indicator_walk(candles, stored) %}
create or replace function {{ walk_schema() }}.indicator_walk(
    market_symbol text,
    market_timeframe text,
    range_starts timestamptz[],
    range_ends timestamptz[]
) returns table (
    open_time timestamptz
    {%- for name, type in carried_columns() + walk_columns() %},
    {{ name }} {{ type }}
    {%- endfor %}
)
language plpgsql
as $walk$
#variable_conflict use_column
declare
    {{ walk_variables() }}
    range_place integer := 1;
    changed_until timestamptz;
    -- The first candle of a block since which nothing changed.
    unchanged_from integer;
    read_from timestamptz;
    restart_at timestamptz;
    state double precision[];
    walked_until timestamptz;
    is_stored boolean;
begin
    while range_place <= cardinality(range_starts) loop
        {{ walk_start() }}
        {{ walk_restart(stored) }}
        walked_until := 'infinity';
        unchanged_from := null;
        for {{ walk_targets(carried_columns()) }} in
            with candles as (
                select chosen.*
                from {{ candles }} as chosen
                where chosen.symbol = market_symbol
                    and chosen.timeframe = market_timeframe
                    and chosen.open_time >= read_from
            )
            {{ candles_in_order(carried_columns()) }}
        loop
            {{ walk_look() }}
            if open_time < restart_at then
                {{ walk_windows() }}
                day_end := date_trunc('day', open_time, 'UTC') + interval '1 day';
                {{ walk_step_on() }}
                continue;
            end if;
            state_before := null;
            if open_time >= block_end then
                {{ walk_begin_block() }}
                while range_place <= cardinality(range_starts) and range_starts[range_place] < block_end loop
                    changed_until := greatest(changed_until, range_ends[range_place]);
                    range_place := range_place + 1;
                end loop;
                if open_time < changed_until then
                    unchanged_from := null;
                else
                    unchanged_from := coalesce(unchanged_from, t);
                end if;
                -- From here on, all that a row looks back to is as it was when the stored rows were computed.
                if t - unchanged_from >= {{ look_back_candles() }} and {{ walk_agrees(stored) }} then
                    walked_until := open_time;
                    exit;
                end if;
            end if;
            {{ walk_windows() }}
            {{ walk_step() }}
            {{ walk_return_row() }}
            {{ walk_step_on() }}
        end loop;
        if is_stored then
            delete from {{ stored }} as stored
            where stored.symbol = market_symbol
                and stored.timeframe = market_timeframe
                and stored.open_time >= restart_at
                and stored.open_time < walked_until;
        end if;
        exit when walked_until = 'infinity';
    end loop;
end;
$walk$
{% endmacro %}

{#- Find the last stored state at or before the range's start; without one, walk from the market's first candle. -#}
{% macro walk_restart(stored) %}
        state := null;
        restart_at := '-infinity';
        read_from := '-infinity';
        is_stored := range_starts[range_place] > '-infinity';
        if is_stored then
            select stored.state_before, stored.open_time into state, restart_at
            from {{ stored }} as stored
            where stored.symbol = market_symbol
                and stored.timeframe = market_timeframe
                and stored.open_time <= range_starts[range_place]
                and stored.state_before is not null
            order by stored.open_time desc
            limit 1;
        end if;
        changed_until := range_ends[range_place];
        range_place := range_place + 1;
        if state is null then
            restart_at := '-infinity';
        else
            t := state[1];
            {{ walk_weights() }}
            {%- for name in walk_state() %}
            {{ name }} := state[{{ loop.index + 1 }}];
            {%- endfor %}
            for back in reverse 100..1 loop
                recent_natrs[(t - back) & 127] := state[{{ walk_state() | length + 102 }} - back];
            end loop;
            select coalesce(min(before.open_time), restart_at), count(*) into read_from, t
            from (
                select stored.open_time
                from {{ stored }} as stored
                where stored.symbol = market_symbol
                    and stored.timeframe = market_timeframe
                    and stored.open_time < restart_at
                order by stored.open_time desc
                limit {{ look_back_candles() }}
            ) as before;
            t := state[1] - t;
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

{#- The rows that hold state, found without a scan; after a full refresh the planner needs figures at once,
    but of keys only. -#}
{% macro index_indicator_blocks(relation) %}
    create index if not exists market_data_indicators_blocks
    on {{ relation }} (symbol, timeframe, open_time) where state_before is not null;
    {% if not takes_changes() %}
    analyze {{ relation }} (symbol, timeframe, open_time, block_start, state_before, publication_id);
    {% endif %}
{% endmacro %}
