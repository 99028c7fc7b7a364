-- A rebuilt ledger publishes every range once more, under a new id also where no row differs, so that builds see it.

alter table ops.changes add column is_told_again boolean not null default false;
comment on column ops.changes.is_told_again is
'Whether a rebuild told it: its range gets a publication of its own also where no row changed.';
