-- Coverage: facts as they came, the current tiles derived from them in the same transaction, and the views of both.

create table ops.coverage_facts (
    fact_id bigint generated always as identity primary key,
    dataset text not null,
    exchange text not null,
    symbol text not null,
    timeframe text not null,
    range_start timestamptz not null,
    range_end timestamptz not null,
    state text not null check (
        state in (
            'present',
            'no_trades',
            'exchange_down',
            'not_listed',
            'unfillable',
            'rejected',
            'pending',
            'failed',
            'revoked'
        )
    ),
    source text not null,
    cause text not null,
    attempt_day date,
    retry_at timestamptz,
    load_id text,
    run_id text,
    recorded_at timestamptz not null default clock_timestamp(),
    check (range_start < range_end)
);
create index coverage_facts_by_market on ops.coverage_facts (dataset, exchange, symbol, timeframe, range_start);
create index coverage_facts_holes on ops.coverage_facts using gist (tstzrange(range_start, range_end))
where state in ('no_trades', 'exchange_down', 'unfillable', 'rejected', 'pending', 'failed');
create index coverage_facts_present on ops.coverage_facts using gist (tstzrange(range_start, range_end))
where state = 'present';
comment on table ops.coverage_facts is 'Append-only: what a source said about a range, in the order of recording.';
comment on column ops.coverage_facts.timeframe is 'Empty for events.';
comment on column ops.coverage_facts.source is 'The source that answered; empty for facts that come from no source.';
comment on column ops.coverage_facts.cause is 'Why, in one or two words: omitted, calendar, retracted, refused …';
comment on column ops.coverage_facts.attempt_day is
'UTC day of the answer on the run''s clock, where it counts as an attempt.';

create table ops.coverage (
    dataset text not null,
    exchange text not null,
    symbol text not null,
    timeframe text not null,
    range_start timestamptz not null,
    range_end timestamptz not null,
    state text not null check (
        state in ('present', 'no_trades', 'exchange_down', 'not_listed', 'unfillable', 'rejected', 'pending', 'failed')
    ),
    source text not null,
    cause text not null,
    attempts integer not null check (attempts >= 0),
    attempt_days date[] not null,
    retry_at timestamptz,
    load_id text,
    run_id text,
    updated_at timestamptz not null default clock_timestamp(),
    primary key (dataset, exchange, symbol, timeframe, range_start),
    check (range_start < range_end)
);
create index coverage_open on ops.coverage (dataset, exchange, symbol, timeframe, range_start)
where state in ('pending', 'failed', 'rejected');
comment on table ops.coverage is 'Current tiles per market, without overlaps; what no tile covers was never asked for.';
comment on column ops.coverage.attempts is 'Days on which a source answered without the rows; length of attempt_days.';
comment on column ops.coverage.retry_at is
'When a scheduled run asks again, UTC; null in a settled tile and in a refused one.';

create table ops.markets (
    dataset text not null,
    exchange text not null,
    symbol text not null,
    timeframe text not null,
    high_watermark_at timestamptz,
    load_id text,
    updated_at timestamptz not null default clock_timestamp(),
    primary key (dataset, exchange, symbol, timeframe)
);
comment on table ops.markets is 'One row per market and timeframe; its row lock guards the market''s coverage.';
comment on column ops.markets.high_watermark_at is
'Exclusive: the maximum reached by the contiguous settled range, UTC; never lowered by a hole that reopens.';
comment on column ops.markets.load_id is 'The load that last moved the high watermark.';

create function ops.timeframe_length(timeframe text) returns interval
language sql immutable strict parallel safe
as $$
    select case
        when timeframe ~ '^[1-9][0-9]{0,3}[mhd]$'
        then left(timeframe, -1)::integer * case right(timeframe, 1)
            when 'm' then interval '1 minute' when 'h' then interval '1 hour' else interval '24 hours'
        end
    end
$$;
comment on function ops.timeframe_length is 'Length of a candle, such as 15m; null for events.';

create view ops.ingest_watermarks as
select
    dataset,
    exchange,
    symbol,
    timeframe,
    high_watermark_at,
    high_watermark_at - ops.timeframe_length(timeframe) as last_open_time,
    load_id,
    updated_at
from ops.markets
where high_watermark_at is not null;
comment on view ops.ingest_watermarks is
'Per market: everything closed before high_watermark_at is settled; last_open_time is null for events.';

-- Holes that were ever found, cut by what is there now: the rest of them is open or ended without data.
create view ops.coverage_gaps as
with

holes_ever as (

    select
        dataset,
        exchange,
        symbol,
        timeframe,
        range_agg(tstzrange(range_start, range_end)) as ranges
    from ops.coverage_facts
    where state in ('no_trades', 'exchange_down', 'unfillable', 'rejected', 'pending', 'failed')
    group by dataset, exchange, symbol, timeframe

),

still_there as (

    select
        coverage.dataset,
        coverage.exchange,
        coverage.symbol,
        coverage.timeframe,
        coverage.range_start as gap_start,
        coverage.range_end as gap_end,
        coverage.state as cause,
        coverage.retry_at,
        coverage.source,
        coverage.cause as evidence,
        coverage.attempts
    from ops.coverage
    where coverage.state in ('no_trades', 'exchange_down', 'unfillable', 'rejected', 'pending', 'failed')

),

filled as (

    select
        coverage.dataset,
        coverage.exchange,
        coverage.symbol,
        coverage.timeframe,
        range_agg(tstzrange(coverage.range_start, coverage.range_end)) * holes_ever.ranges as ranges
    from holes_ever
    inner join ops.coverage
        on
            holes_ever.dataset = coverage.dataset
            and holes_ever.exchange = coverage.exchange
            and holes_ever.symbol = coverage.symbol
            and holes_ever.timeframe = coverage.timeframe
            and coverage.state = 'present'
            and tstzrange(coverage.range_start, coverage.range_end) && holes_ever.ranges
    group by coverage.dataset, coverage.exchange, coverage.symbol, coverage.timeframe, holes_ever.ranges

),

gaps as (

    select
        dataset,
        exchange,
        symbol,
        timeframe,
        gap_start,
        gap_end,
        cause,
        evidence,
        source,
        attempts,
        case
            when cause = 'no_trades' then 'closed'
            when cause in ('exchange_down', 'unfillable') or (cause = 'rejected' and retry_at is null) then 'unfillable'
            else 'open'
        end as status
    from still_there
    union all
    select
        filled.dataset,
        filled.exchange,
        filled.symbol,
        filled.timeframe,
        lower(piece) as gap_start,
        upper(piece) as gap_end,
        null as cause,
        'filled' as evidence,
        '' as source,
        0 as attempts,
        'closed' as status
    from filled
    cross join lateral unnest(filled.ranges) as pieces (piece)

)

select
    gaps.dataset,
    gaps.exchange,
    gaps.symbol,
    gaps.timeframe,
    gaps.gap_start,
    gaps.gap_end,
    (
        extract(epoch from gaps.gap_end - gaps.gap_start) / extract(epoch from ops.timeframe_length(gaps.timeframe))
    )::bigint
        as missing_count,
    coalesce(gaps.cause, found.first_cause) as cause,
    case when gaps.status = 'open' and asked.is_asked then 'repairing' else gaps.status end as status,
    found.detected_at,
    repaired.repaired_at,
    jsonb_build_object('cause', gaps.evidence, 'source', gaps.source, 'attempts', gaps.attempts) as evidence
from gaps
cross join
    lateral (
        select
            min(facts.recorded_at) as detected_at,
            (array_agg(facts.state order by facts.fact_id))[1] as first_cause
        from ops.coverage_facts as facts
        where
            facts.state in ('no_trades', 'exchange_down', 'unfillable', 'rejected', 'pending', 'failed')
            and tstzrange(facts.range_start, facts.range_end) && tstzrange(gaps.gap_start, gaps.gap_end)
            and facts.dataset = gaps.dataset
            and facts.exchange = gaps.exchange
            and facts.symbol = gaps.symbol
            and facts.timeframe = gaps.timeframe
    ) as found
cross join
    lateral (
        select min(facts.recorded_at) as repaired_at
        from ops.coverage_facts as facts
        where
            gaps.evidence = 'filled'
            and facts.state = 'present'
            and tstzrange(facts.range_start, facts.range_end) && tstzrange(gaps.gap_start, gaps.gap_end)
            and facts.dataset = gaps.dataset
            and facts.exchange = gaps.exchange
            and facts.symbol = gaps.symbol
            and facts.timeframe = gaps.timeframe
            and facts.recorded_at > found.detected_at
    ) as repaired
cross join lateral (
    select exists(
        select 1
        from ops.fetch_tasks as tasks
        inner join ops.runs on tasks.run_id = runs.run_id
        where
            runs.state = 'running'
            and runs.created_at > clock_timestamp() - interval '1 day'
            and tasks.exchange = gaps.exchange
            and tasks.dataset = gaps.dataset
            and tasks.task #>> '{market,symbol}' = gaps.symbol
            and tasks.task ->> 'timeframe' = gaps.timeframe
            and (tasks.task #>> '{window,start}')::timestamptz < gaps.gap_end
            and (tasks.task #>> '{window,end}')::timestamptz > gaps.gap_start
    ) as is_asked
) as asked;
comment on view ops.coverage_gaps is
'Each hole that was ever found: open, repairing, closed or unfillable, with its cause.';
