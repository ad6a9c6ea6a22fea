-- One schema for SQLite and PostgreSQL: ids are UUIDv7 as text, times are microseconds since 1970 (UTC).

CREATE TABLE users (
  id            TEXT PRIMARY KEY,
  username      TEXT NOT NULL UNIQUE,
  password_hash TEXT NOT NULL,             -- bcrypt
  role          TEXT NOT NULL CHECK (role IN ('user', 'admin')),
  created_at    BIGINT NOT NULL
);

CREATE TABLE api_keys (
  id         TEXT PRIMARY KEY,
  user_id    TEXT NOT NULL REFERENCES users (id),
  name       TEXT NOT NULL,
  hash       TEXT NOT NULL UNIQUE,         -- SHA-256 in hexadecimal: the key itself is shown once and never kept
  created_at BIGINT NOT NULL,
  revoked_at BIGINT
);
CREATE INDEX api_keys_of_user ON api_keys (user_id, id);

CREATE TABLE items (
  id          TEXT PRIMARY KEY,
  owner_id    TEXT NOT NULL REFERENCES users (id),
  name        TEXT NOT NULL,
  description TEXT NOT NULL,
  created_at  BIGINT NOT NULL,
  updated_at  BIGINT NOT NULL
);
