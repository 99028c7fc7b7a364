-- What silver computes with is none of its users' tables. The views on it follow it.
alter table if exists silver.market_data_indicators set schema staging;
