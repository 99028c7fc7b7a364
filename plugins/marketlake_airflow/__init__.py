"""Airflow's side of marketlake: operators, task factories, window, callbacks. It runs in Airflow's environment."""
