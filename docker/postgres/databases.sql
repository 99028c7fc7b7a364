-- Beside the lake's own database, which the image makes: Airflow's metadata.
create database airflow;
