#!/bin/sh
# Run once by the Postgres image, when its data directory is new: the agents' memory gets a database and a user of its
# own, because workers have no access to the store.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres --set password="$CHECKPOINT_PASSWORD" <<'SQL'
CREATE ROLE checkpoints LOGIN PASSWORD :'password';
CREATE DATABASE checkpoints OWNER checkpoints;
REVOKE CONNECT ON DATABASE agent_runner FROM PUBLIC;
SQL
