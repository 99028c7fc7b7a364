-- What the exchange says was used counts until it is asked again: its minute ends when its own clock says so, not ours.

alter table ops.request_budget
add column reported_weight integer not null default 0 check (reported_weight >= 0),
add column reported_at timestamptz;
comment on column ops.request_budget.used_weight is 'Weight drawn here in the running minute of the drawing machine.';
comment on column ops.request_budget.reported_weight is
'Weight that the exchange last said was used in its own minute, and what was drawn here since.';
comment on column ops.request_budget.reported_at is
'When the exchange said so, or was asked again, by the machine''s clock, UTC; null before its first answer.';
