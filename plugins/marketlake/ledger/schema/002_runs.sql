-- Whose market the lake holds, the runs, and what each run was to fetch and fetched.

create table ops.lake (
    is_only boolean primary key default true check (is_only),
    market text not null,
    created_at timestamptz not null default clock_timestamp()
);
comment on table ops.lake is 'One row: the market that feeds this lake; another one is refused.';
comment on column ops.lake.market is 'live, recorded, or synthetic:<seed>.';

create table ops.table_state (
    table_name text primary key,
    incarnation integer not null default 1 check (incarnation >= 1),
    last_known_at timestamptz
);
comment on table ops.table_state is 'Per lake table: how often it was restored, and the newest known_at given out.';
comment on column ops.table_state.incarnation is 'Raised by a restore, so that loads lost with it can be loaded again.';
comment on column ops.table_state.last_known_at is 'The newest known_at that a load drew, UTC; the next one is later.';

create table ops.runs (
    run_id text primary key check (run_id ~ '^[A-Za-z0-9_.:+-]{1,200}$'),
    kind text not null,
    window_start timestamptz,
    window_end timestamptz,
    mode text not null check (mode in ('incremental', 'backfill', 'force')),
    request jsonb not null,
    now_at timestamptz not null,
    clock_offset_seconds double precision not null default 0,
    state text not null default 'running' check (state in ('running', 'succeeded', 'failed')),
    created_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    check (window_start < window_end)
);
create index runs_newest on ops.runs (created_at desc);
comment on table ops.runs is 'One row per run, of the command line or of a DAG.';
comment on column ops.runs.kind is 'cli, or the id of the DAG.';
comment on column ops.runs.window_start is
'Start of the window, UTC; null where each market goes on from its high watermark.';
comment on column ops.runs.window_end is 'End of the window, exclusive, UTC; null as window_start.';
comment on column ops.runs.request is 'What was asked: datasets, exchanges, symbols, timeframes, source and so on.';
comment on column ops.runs.now_at is 'The planner''s fixed now, on the run''s clock, UTC.';
comment on column ops.runs.clock_offset_seconds is
'The run''s clock minus the machine''s, seconds, read once at the start.';
comment on column ops.runs.created_at is 'Machine time, UTC.';

create table ops.step_times (
    run_id text not null references ops.runs,
    step text not null,
    exchange text not null default '',
    dataset text not null default '',
    seconds double precision not null check (seconds >= 0),
    result jsonb not null default '{}',
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (run_id, step, exchange, dataset)
);
comment on table ops.step_times is 'What each step of a run last reported, and how long it took.';
comment on column ops.step_times.seconds is 'Wall time of the step''s last pass, seconds.';

create table ops.instruments (
    exchange text not null,
    symbol text not null,
    exchange_symbol text not null,
    market_type text not null,
    base_asset text not null,
    quote_asset text not null,
    margin_asset text,
    price_tick numeric,
    amount_step numeric,
    contract_multiplier numeric,
    funding_interval_hours integer,
    listed_at timestamptz,
    delisted_at timestamptz,
    valid_from timestamptz not null,
    valid_to timestamptz,
    primary key (exchange, symbol, valid_from),
    check (valid_from < valid_to)
);
create unique index instruments_open on ops.instruments (exchange, symbol) where valid_to is null;
comment on table ops.instruments is 'The markets by date; a change closes the old row and opens a new one.';
comment on column ops.instruments.symbol is 'ccxt''s unified symbol, such as BTC/USDT or BTC/USDT:USDT.';
comment on column ops.instruments.exchange_symbol is 'The exchange''s own name, such as BTCUSDT.';
comment on column ops.instruments.price_tick is 'Smallest price step, in quote asset.';
comment on column ops.instruments.amount_step is 'Smallest amount step, in base asset or contracts.';
comment on column ops.instruments.contract_multiplier is
'Amount per contract: base asset if linear, quote asset if inverse; null for spot.';
comment on column ops.instruments.listed_at is 'First instant of trading, UTC, where the exchange states it.';
comment on column ops.instruments.delisted_at is 'End of trading, exclusive, UTC.';
comment on column ops.instruments.valid_from is
'Since when this row is true to our knowledge, UTC, on the run''s clock.';
comment on column ops.instruments.valid_to is 'Until when, exclusive, UTC; null for the row that holds now.';

create table ops.instrument_refreshes (
    exchange text primary key,
    refreshed_at timestamptz not null,
    instruments integer not null
);
comment on table ops.instrument_refreshes is
'When each exchange''s list of markets was last taken over, on the run''s clock, UTC.';

create table ops.fetch_tasks (
    run_id text not null references ops.runs,
    task_id text not null,
    position integer not null,
    exchange text not null,
    dataset text not null,
    task jsonb not null,
    primary key (run_id, task_id)
);
comment on table ops.fetch_tasks is 'What a run''s plan asks for, in order.';

create table ops.manifests (
    manifest_id text primary key,
    run_id text not null,
    exchange text not null,
    dataset text not null,
    kind text not null,
    path text not null,
    now_at timestamptz not null,
    sealed_at timestamptz not null,
    answers jsonb not null,
    state text not null default 'waiting' check (state in ('waiting', 'loaded', 'refused', 'failed', 'damaged')),
    load_id text,
    error text,
    registered_at timestamptz not null default clock_timestamp(),
    judged_at timestamptz
);
create index manifests_by_state on ops.manifests (state, sealed_at);
create index manifests_by_run on ops.manifests (run_id);
comment on table ops.manifests is 'Sealed manifests: what was fetched, and what the load made of it.';
comment on column ops.manifests.path is 'The manifest''s file, relative to the landing root.';
comment on column ops.manifests.answers is 'Per answer: symbol, timeframe, source, start, end, status.';
comment on column ops.manifests.state is
'waiting, loaded, refused (wholly or one market), failed (its load raised), damaged (files differ from what landed).';
comment on column ops.manifests.error is 'Why it was refused, failed or is damaged; names rule and rows.';
