#!/bin/sh
# Run once, on an empty disk, by the image's own entry point: a database with an owner for each server, and a role that
# may only read, for the backup.
set -eu
psql --set=ON_ERROR_STOP=1 --username=postgres \
  --set=prefect="$PREFECT_PASSWORD" --set=mlflow="$MLFLOW_PASSWORD" --set=backup="$BACKUP_PASSWORD" <<'SQL'
CREATE ROLE prefect LOGIN PASSWORD :'prefect';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE ROLE backup LOGIN PASSWORD :'backup' IN ROLE pg_read_all_data;
CREATE DATABASE prefect OWNER prefect;
CREATE DATABASE mlflow OWNER mlflow;
REVOKE CONNECT ON DATABASE prefect, mlflow FROM PUBLIC;
GRANT CONNECT ON DATABASE prefect TO prefect, backup;
GRANT CONNECT ON DATABASE mlflow TO mlflow, backup;
SQL
