alter table ops.builds add column is_full_refresh boolean not null default false;
comment on column ops.builds.is_full_refresh is
'Whether the build computes every model anew over all that is published; whoever takes it over does too.';
