-- A source that refuses everybody from here (403, 451) is closed for a while: draws fail at once instead of waiting.

alter table ops.request_budget add column is_closed boolean not null default false;
comment on column ops.request_budget.is_closed is
'Whether the block is a refusal: who draws before blocked_until fails at once, since waiting would not help.';
