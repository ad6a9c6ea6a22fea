-- One schema for PostgreSQL and SQLite. Ids are UUIDv7 as text: they sort by time, read well in a log, and both databases
-- compare them alike. Times are microseconds since 1970 (UTC) and money is in cents, both BIGINT: no database rounds them.
-- Truth values are BIGINT 0 or 1, lists and documents are JSON text.

CREATE TABLE users (
  id            TEXT PRIMARY KEY,
  email         TEXT NOT NULL UNIQUE,              -- in lower case
  name          TEXT NOT NULL,
  password_hash TEXT NOT NULL,                     -- bcrypt
  role          TEXT NOT NULL CHECK (role IN ('customer', 'staff', 'admin')),
  disabled      BIGINT NOT NULL DEFAULT 0,
  created_at    BIGINT NOT NULL,
  updated_at    BIGINT NOT NULL
);

CREATE TABLE sessions (
  id         TEXT PRIMARY KEY,
  user_id    TEXT NOT NULL REFERENCES users (id),
  client     TEXT NOT NULL DEFAULT '',             -- user agent and address at login, for the user to recognise it by
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  revoked_at BIGINT
);
CREATE INDEX sessions_of_user ON sessions (user_id);
CREATE INDEX sessions_expiry ON sessions (expires_at);

-- A refresh token is used once; one that comes back after its use was stolen, and ends its session.
CREATE TABLE refresh_tokens (
  hash       TEXT PRIMARY KEY,                     -- SHA-256, hexadecimal: the token itself is never kept
  session_id TEXT NOT NULL REFERENCES sessions (id),
  issued_at  BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_at    BIGINT
);
CREATE INDEX refresh_tokens_of_session ON refresh_tokens (session_id);

CREATE TABLE menu_categories (
  id           TEXT PRIMARY KEY,
  name         TEXT NOT NULL UNIQUE,
  position     BIGINT NOT NULL DEFAULT 0,
  tax_category TEXT NOT NULL DEFAULT 'food',       -- a key of the rules' taxes
  created_at   BIGINT NOT NULL,
  updated_at   BIGINT NOT NULL
);

CREATE TABLE menu_items (
  id          TEXT PRIMARY KEY,
  category_id TEXT NOT NULL REFERENCES menu_categories (id),
  name        TEXT NOT NULL,
  description TEXT NOT NULL DEFAULT '',
  price_cents BIGINT NOT NULL CHECK (price_cents >= 0),
  available   BIGINT NOT NULL DEFAULT 1,
  tags        TEXT NOT NULL DEFAULT '[]',
  image_id    TEXT,
  version     BIGINT NOT NULL DEFAULT 1,           -- rises with each change: the entity tag
  created_at  BIGINT NOT NULL,
  updated_at  BIGINT NOT NULL,
  deleted_at  BIGINT                               -- orders refer to what is no longer sold
);
CREATE INDEX menu_items_of_category ON menu_items (category_id, name);

CREATE TABLE images (
  id            TEXT PRIMARY KEY,
  item_id       TEXT NOT NULL REFERENCES menu_items (id),
  content_type  TEXT NOT NULL,
  width         BIGINT NOT NULL,
  height        BIGINT NOT NULL,
  bytes         BIGINT NOT NULL,
  sha256        TEXT NOT NULL,
  object_key    TEXT NOT NULL,                     -- where the image store has it
  thumbnail_key TEXT NOT NULL,
  created_at    BIGINT NOT NULL
);
CREATE INDEX images_of_item ON images (item_id);

-- An item without a row is not counted: it does not run out.
CREATE TABLE stock (
  item_id    TEXT PRIMARY KEY REFERENCES menu_items (id),
  quantity   BIGINT NOT NULL CHECK (quantity >= 0),
  updated_at BIGINT NOT NULL
);

CREATE TABLE orders (
  id             TEXT PRIMARY KEY,
  user_id        TEXT NOT NULL REFERENCES users (id),
  state          TEXT NOT NULL,
  currency       TEXT NOT NULL,
  subtotal_cents BIGINT NOT NULL,
  discount_cents BIGINT NOT NULL,
  tax_cents      BIGINT NOT NULL,
  total_cents    BIGINT NOT NULL CHECK (total_cents >= 0),
  coupon         TEXT,
  note           TEXT NOT NULL DEFAULT '',
  decisions      TEXT NOT NULL,                    -- JSON: which rule did what, and why
  version        BIGINT NOT NULL DEFAULT 1,
  created_at     BIGINT NOT NULL,
  updated_at     BIGINT NOT NULL
);
CREATE INDEX orders_of_user ON orders (user_id, id);
CREATE INDEX orders_in_state ON orders (state, id);
CREATE INDEX orders_by_time ON orders (created_at);

CREATE TABLE order_lines (
  order_id       TEXT NOT NULL REFERENCES orders (id),
  position       BIGINT NOT NULL,
  item_id        TEXT NOT NULL,
  name           TEXT NOT NULL,
  quantity       BIGINT NOT NULL CHECK (quantity > 0),
  unit_cents     BIGINT NOT NULL,
  discount_cents BIGINT NOT NULL,
  tax_cents      BIGINT NOT NULL,
  total_cents    BIGINT NOT NULL,
  tax_category   TEXT NOT NULL,
  PRIMARY KEY (order_id, position)
);

CREATE TABLE order_events (
  id         TEXT PRIMARY KEY,
  order_id   TEXT NOT NULL REFERENCES orders (id),
  at         BIGINT NOT NULL,
  actor      TEXT NOT NULL,                        -- a user's id, or `system`
  from_state TEXT,
  to_state   TEXT NOT NULL,
  reason     TEXT NOT NULL DEFAULT ''
);
CREATE INDEX order_events_of_order ON order_events (order_id, id);

CREATE TABLE coupon_uses (
  coupon TEXT PRIMARY KEY,
  used   BIGINT NOT NULL CHECK (used >= 0)
);

CREATE TABLE idempotency_keys (
  user_id     TEXT NOT NULL,
  key         TEXT NOT NULL,
  fingerprint TEXT NOT NULL,                       -- SHA-256 of the request
  order_id    TEXT NOT NULL,
  created_at  BIGINT NOT NULL,
  PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);

-- The outbox: written in the transaction that needs the job done, and the truth about it until it is done. A queue only
-- carries jobs to workers sooner; one that it loses is carried again when `hidden_until` has passed.
CREATE TABLE jobs (
  id           TEXT PRIMARY KEY,
  kind         TEXT NOT NULL,
  once         TEXT UNIQUE,                        -- what may exist once only, for example one day's report
  payload      TEXT NOT NULL,
  state        TEXT NOT NULL CHECK (state IN ('ready', 'done', 'dead')),
  attempts     BIGINT NOT NULL DEFAULT 0,
  run_at       BIGINT NOT NULL,
  hidden_until BIGINT NOT NULL DEFAULT 0,
  last_error   TEXT,
  created_at   BIGINT NOT NULL,
  updated_at   BIGINT NOT NULL
);
CREATE INDEX jobs_ready ON jobs (run_at, id) WHERE state = 'ready';
CREATE INDEX jobs_dead ON jobs (id) WHERE state = 'dead';
CREATE INDEX jobs_done ON jobs (updated_at) WHERE state = 'done';

CREATE TABLE payments (
  order_id     TEXT PRIMARY KEY REFERENCES orders (id),
  provider     TEXT NOT NULL,
  reference    TEXT NOT NULL,
  approved     BIGINT NOT NULL,
  amount_cents BIGINT NOT NULL,
  created_at   BIGINT NOT NULL
);

CREATE TABLE kitchen_tickets (
  order_id   TEXT PRIMARY KEY REFERENCES orders (id),
  ticket     TEXT NOT NULL,
  created_at BIGINT NOT NULL
);

CREATE TABLE daily_reports (
  day           TEXT PRIMARY KEY,                  -- YYYY-MM-DD in the restaurant's time zone
  orders        BIGINT NOT NULL,
  revenue_cents BIGINT NOT NULL,
  report        TEXT NOT NULL,
  created_at    BIGINT NOT NULL
);

CREATE TABLE audit_log (
  id      TEXT PRIMARY KEY,
  at      BIGINT NOT NULL,
  actor   TEXT NOT NULL,
  action  TEXT NOT NULL,
  object  TEXT NOT NULL,
  outcome TEXT NOT NULL,
  detail  TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_by_time ON audit_log (at);

-- The rules in force: at most one row; without it the built-in ones are.
CREATE TABLE rules (
  id         BIGINT PRIMARY KEY CHECK (id = 1),
  document   TEXT NOT NULL,
  version    BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  updated_by TEXT NOT NULL
);
