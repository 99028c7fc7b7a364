"""What marketlake adds to Airflow's web server and components."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from marketlake_airflow import pools
from marketlake_airflow.deadline import RunQueued
from marketlake_airflow.links import SITE_PREFIX, CoverageLink, DataDocsLink, DeadLetterLink


class LazySite:
    """The pages as an ASGI application that is built at its first request; tasks load the plugin too, and need none."""

    @cached_property
    def _site(self) -> Any:
        from marketlake_airflow.site import build_site

        return build_site()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._site(scope, receive, send)


def _view(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "href": f"{SITE_PREFIX}/{path}", "destination": "nav", "category": "marketlake"}


class MarketlakePlugin(AirflowPlugin):
    """Links on the tasks, entries in the menu, the pages under /marketlake, the pools, and when a run is late."""

    name = "marketlake"
    operator_extra_links = [DataDocsLink(), DeadLetterLink(), CoverageLink()]  # noqa: RUF012 - Airflow's own form
    external_views = [  # noqa: RUF012 - Airflow's own form
        _view("dbt docs", "dbt/"),
        _view("Data docs", "data_docs/"),
        _view("Coverage", "coverage"),
        _view("DLQ", "dlq"),
    ]
    fastapi_apps = [{"app": LazySite(), "url_prefix": SITE_PREFIX, "name": "marketlake"}]  # noqa: RUF012 - Airflow's own form
    deadline_references = [RunQueued]  # noqa: RUF012 - Airflow's own form
    listeners = [pools]  # noqa: RUF012 - Airflow's own form
