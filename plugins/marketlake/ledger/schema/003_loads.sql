-- What each load did: rows by outcome, verdicts by market, where sources agree and differ, what has to be published.

create table ops.loads (
    load_id text not null,
    step text not null check (step in ('audited', 'loaded', 'published')),
    table_name text not null,
    dataset text not null,
    exchange text not null,
    manifest_id text,
    files_id text,
    run_id text not null,
    kind text not null,
    typed_rows bigint not null default 0,
    collapsed_rows bigint not null default 0,
    appended_rows bigint not null default 0,
    agreed_rows bigint not null default 0,
    retracted_rows bigint not null default 0,
    rejected_rows bigint not null default 0,
    flagged_rows bigint not null default 0,
    delta_version bigint,
    known_at timestamptz,
    seconds double precision not null default 0,
    details jsonb not null default '{}',
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (load_id, step)
);
create index loads_by_run on ops.loads (run_id);
create index loads_by_files on ops.loads (table_name, files_id) where step = 'loaded';
comment on table ops.loads is 'One row per load and step: audited, loaded, published.';
comment on column ops.loads.kind is
'load, or reissue:n, retry:n, force:n, replay:n, rebuild:n; n counts the loads of that kind for the same files.';
comment on column ops.loads.files_id is 'A hash of the sorted sha256 of the manifest''s files.';
comment on column ops.loads.typed_rows is 'Rows after conforming, before the split.';
comment on column ops.loads.collapsed_rows is 'Repeated rows that conforming dropped.';
comment on column ops.loads.appended_rows is 'Rows that became new revisions in bronze.';
comment on column ops.loads.agreed_rows is 'Rows equal to what was there; nothing was written for them.';
comment on column ops.loads.delta_version is
'Version of the lake table that the load''s commit made; null where nothing was to commit.';
comment on column ops.loads.known_at is 'known_at of the rows, UTC.';
comment on column ops.loads.seconds is 'Wall time of the step, seconds.';

create table ops.market_verdicts (
    load_id text not null,
    exchange text not null,
    symbol text not null,
    received_rows bigint not null,
    rejected_rows bigint not null,
    rejected_share double precision not null,
    is_refused boolean not null,
    reasons jsonb not null default '{}',
    primary key (load_id, exchange, symbol)
);
comment on table ops.market_verdicts is 'What the audit found per market, over all timeframes of a load.';
comment on column ops.market_verdicts.rejected_share is 'rejected_rows / received_rows, a fraction.';
comment on column ops.market_verdicts.reasons is 'Rejected rows by reason.';

create table ops.agreements (
    dataset text not null,
    exchange text not null,
    symbol text not null,
    timeframe text not null,
    source text not null,
    range_start timestamptz not null,
    range_end timestamptz not null,
    agreed_at timestamptz not null,
    primary key (dataset, exchange, symbol, timeframe, source, range_start),
    check (range_start < range_end)
);
comment on table ops.agreements is
'Per source and range, without overlaps: the last instant at which the source agreed with what we have.';
comment on column ops.agreements.agreed_at is
'received_at of the agreeing answer, UTC; a differing row older than that does not become current.';

create table ops.changes (
    change_id bigint generated always as identity primary key,
    load_id text not null,
    run_id text not null,
    dataset text not null,
    exchange text not null,
    symbol text not null,
    timeframe text not null,
    range_start timestamptz not null,
    range_end timestamptz not null,
    publication_id bigint,
    recorded_at timestamptz not null default clock_timestamp(),
    check (range_start < range_end)
);
create index changes_unpublished on ops.changes (change_id) where publication_id is null;
comment on table ops.changes is
'Ranges whose current rows or day counts a load changed; published ones name their publication.';

create table ops.archive_files (
    exchange text not null,
    path text not null,
    dataset text not null,
    symbol text not null,
    exchange_symbol text not null,
    timeframe text not null,
    period_start timestamptz not null,
    period_end timestamptz not null,
    bytes bigint,
    published_sha256 text,
    computed_sha256 text,
    loaded_sha256 text,
    status text not null check (
        status in (
            'pending', 'downloaded', 'verified', 'loaded', 'absent', 'unverified', 'checksum_mismatch', 'superseded'
        )
    ),
    row_count bigint,
    first_at timestamptz,
    last_at timestamptz,
    attempts integer not null default 0,
    checked_at timestamptz,
    loaded_at timestamptz,
    load_id text,
    error text,
    primary key (exchange, path)
);
create index archive_files_by_market on ops.archive_files (exchange, dataset, symbol, timeframe, period_start);
comment on table ops.archive_files is 'What was asked of the exchange''s archives, and what came of it.';
comment on column ops.archive_files.path is 'The file''s path below the archive URL.';
comment on column ops.archive_files.period_start is 'Start of the day or month that the file covers, UTC.';
comment on column ops.archive_files.published_sha256 is 'The digest in the exchange''s CHECKSUM file, as last seen.';
comment on column ops.archive_files.computed_sha256 is 'The digest of the file that was downloaded last.';
comment on column ops.archive_files.loaded_sha256 is 'The digest of the file whose rows are in bronze.';
comment on column ops.archive_files.checked_at is
'When the exchange was last asked for the file or its checksum, on the run''s clock, UTC.';

create table ops.source_disagreements (
    dataset text not null,
    exchange text not null,
    symbol text not null,
    timeframe text not null,
    key_at timestamptz not null,
    field text not null,
    source text not null,
    value text not null,
    other_source text not null,
    other_value text not null,
    chosen_source text not null,
    load_id text not null,
    found_at timestamptz not null,
    primary key (dataset, exchange, symbol, timeframe, key_at, field, source, value, other_source, other_value)
);
comment on table ops.source_disagreements is
'Where two sources of one exchange differ; an unchanged difference is one row.';
comment on column ops.source_disagreements.key_at is 'open_time or funding_time of the row, UTC.';
comment on column ops.source_disagreements.chosen_source is 'The source whose value is current.';

create table ops.dlq_actions (
    reject_id text not null,
    rule_version text not null,
    action text not null check (action in ('replayed', 'discarded')),
    has_effect boolean not null,
    run_id text,
    acted_at timestamptz not null,
    primary key (reject_id, rule_version)
);
comment on table ops.dlq_actions is 'What was done with dead-letter rows; once per row and rule-set version.';

create table ops.data_quality_logs (
    id bigint generated always as identity primary key,
    event_type text not null check (
        event_type in (
            'gap_detected', 'gap_filled', 'backfill_requested', 'db_error', 'sink_error', 'feed_stalled',
            'validation_failed', 'anomaly'
        )
    ),
    exchange text not null,
    symbol text not null,
    timeframe text not null default '',
    gap_start timestamptz,
    gap_end timestamptz,
    candles_missing bigint,
    details jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp()
);
create index data_quality_logs_newest on ops.data_quality_logs (created_at desc);
comment on table ops.data_quality_logs is 'Quality events as they happened.';
comment on column ops.data_quality_logs.candles_missing is
'Candles that the gap lacks; null where that is not a count of candles.';

create table ops.data_quality_metrics (
    dataset text not null,
    exchange text not null,
    symbol text not null,
    timeframe text not null default '',
    window_start timestamptz not null,
    window_end timestamptz not null,
    metric text not null,
    value double precision check (value between 0 and 1),
    note text,
    computed_at timestamptz not null default clock_timestamp(),
    primary key (dataset, exchange, symbol, timeframe, window_start, window_end, metric)
);
comment on table ops.data_quality_metrics is
'Quality metrics per market and window, fractions; null where one cannot be computed.';
