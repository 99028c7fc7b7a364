{{ config(materialized='view') }}

{#- No CTE: Postgres does not flatten a view that has one, and a look-up of one row would sort the table. -#}

select * from {{ ref('stg_bronze__ohlcv') }}
