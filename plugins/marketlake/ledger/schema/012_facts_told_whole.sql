-- A fact can be told again as it was: after a restore of a table, and what a longer patience left open stays open.

alter table ops.coverage_facts
add column settles_after integer not null default 3 check (settles_after > 0);
comment on column ops.coverage_facts.settles_after is
'After attempts on so many days the hole was settled, by the settings of then.';
