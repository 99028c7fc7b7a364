-- The schemas of one deployment, and what the reader may see. Its role is made in code: the password is a setting.

create schema if not exists ops;
create schema if not exists bronze;
create schema if not exists staging;
create schema if not exists silver;
create schema if not exists gold_build;
create schema if not exists gold;
create schema if not exists features;

comment on schema ops is 'The ledger: what was asked, what came, what is settled, what is published.';
comment on schema bronze is 'Current rows of the lake''s bronze tables, published from Delta.';
comment on schema staging is 'dbt views that rename and cast bronze.';
comment on schema silver is 'One row per key, with indicators.';
comment on schema gold_build is 'Marts as they are built and tested, before they are merged into gold.';
comment on schema gold is 'Marts that passed their tests; what users query.';
comment on schema features is 'Features and live tables for look-ups in milliseconds.';

do $$
declare
    readable text;
begin
    foreach readable in array array['bronze', 'silver', 'gold'] loop
        execute format('grant usage on schema %I to marketlake_reader', readable);
        execute format('grant select on all tables in schema %I to marketlake_reader', readable);
        execute format('alter default privileges in schema %I grant select on tables to marketlake_reader', readable);
    end loop;
end
$$;
