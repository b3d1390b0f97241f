"""Where the embedded servers keep what they know: SQLite in the workspace, or a PostgreSQL server, a database each.

Addresses reach the servers in their environment, never on a command line, which everybody on the machine can read.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from components.settings import Settings

PREFECT_DATABASE = "starloom_prefect"
MLFLOW_DATABASE = "starloom_mlflow"


@dataclass(frozen=True)
class Databases:
    """What each server finds in its environment."""

    prefect: dict[str, str]
    mlflow: dict[str, str]


def databases_of(settings: Settings) -> Databases:
    """The databases that the settings mean; nobody is asked whether they are there."""
    if settings.database_url is None:
        return Databases(prefect={}, mlflow={"MLFLOW_BACKEND_STORE_URI": "sqlite:///mlflow.db"})
    url = settings.database_url.get_secret_value()
    # asyncpg and psycopg have different names for one option.
    prefect = _address(url.replace("?sslmode=", "?ssl="), "postgresql+asyncpg", PREFECT_DATABASE)
    mlflow = _address(url, "postgresql+psycopg", MLFLOW_DATABASE)
    return Databases(
        prefect={"PREFECT_SERVER_DATABASE_CONNECTION_URL": prefect}, mlflow={"MLFLOW_BACKEND_STORE_URI": mlflow}
    )


def database_place(settings: Settings) -> str:
    """Host and port of the server, without who may use it; empty for SQLite."""
    return settings.database_url.get_secret_value().rpartition("@")[2] if settings.database_url else ""


def _address(server: str, driver: str, database: str) -> str:
    return urlsplit(server)._replace(scheme=driver, path=f"/{database}").geturl()
