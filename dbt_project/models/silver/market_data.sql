{{ config(materialized='view') }}

with

candles as (

    select * from {{ ref('stg_bronze__ohlcv') }}

)

select * from candles
