-- The queue between publish and dbt, the builds that consume it, and the shared request budget.

create table ops.publications (
    publication_id bigint generated always as identity primary key,
    dataset text not null,
    exchange text not null,
    symbol text not null,
    timeframe text not null,
    range_start timestamptz not null,
    range_end timestamptz not null,
    rows_written bigint not null,
    rows_deleted bigint not null,
    run_id text not null,
    published_at timestamptz not null default clock_timestamp(),
    check (range_start < range_end)
);
create index publications_by_run on ops.publications (run_id);
comment on table ops.publications is 'Ranges that were published to Postgres, in the order of their commits.';
comment on column ops.publications.rows_written is 'Rows inserted or changed.';
comment on column ops.publications.rows_deleted is 'Rows whose key has no current row any more.';

create table ops.builds (
    build_id bigint generated always as identity primary key,
    run_id text not null,
    pinned_publication_id bigint not null,
    state text not null default 'open' check (state in ('open', 'merged', 'failed', 'taken_over')),
    step text not null default '',
    heartbeat_at timestamptz not null default clock_timestamp(),
    opened_at timestamptz not null default clock_timestamp(),
    closed_at timestamptz
);
create unique index builds_only_one_open on ops.builds (state) where state = 'open';
comment on table ops.builds is 'dbt builds; at most one is open, and it is dead after a minute without a heartbeat.';
comment on column ops.builds.pinned_publication_id is
'The build reads publications up to this id; 0 when there were none.';
comment on column ops.builds.step is 'The task that beat last.';

create table ops.model_progress (
    model text primary key,
    publication_id bigint not null,
    updated_at timestamptz not null default clock_timestamp()
);
comment on table ops.model_progress is
'Per incremental model: the last publication that it holds, written with its rows.';

create table ops.request_budget (
    exchange text not null,
    scope text not null,
    window_start timestamptz not null,
    used_weight integer not null default 0 check (used_weight >= 0),
    limit_weight integer not null check (limit_weight > 0),
    blocked_until timestamptz,
    reason text,
    updated_at timestamptz not null default clock_timestamp(),
    primary key (exchange, scope)
);
comment on table ops.request_budget is 'Request weight spent in the running minute, by all processes together.';
comment on column ops.request_budget.scope is 'What the exchange counts together: spot, usdm.';
comment on column ops.request_budget.limit_weight is 'Weight that the exchange allows a minute, as it publishes it.';
comment on column ops.request_budget.blocked_until is
'No call before this instant, UTC; from Retry-After or a ban''s text.';
