-- What a run asks of the ledger is found by an index, so that it costs what changed and not what ever was.

create index loads_by_manifest on ops.loads (manifest_id);
create index changes_by_load on ops.changes (load_id);
create index runs_by_parent on ops.runs ((request ->> 'parent')) where request ->> 'parent' is not null;
create index runs_by_now on ops.runs (now_at);
create index builds_by_run on ops.builds (run_id, build_id);
create index builds_merged on ops.builds (pinned_publication_id) where state = 'merged';
create index manifests_by_registration on ops.manifests (registered_at);

alter table ops.lake add column manifests_found_until timestamptz;
comment on column ops.lake.manifests_found_until is
'Every manifest that was sealed before this instant of the machine is registered; null before the first plan.';
