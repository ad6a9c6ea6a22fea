-- Jobs by when they are due or show again. Before, whoever looked for due jobs passed over every one that was claimed and not yet
-- done; with tens of thousands of them each look took longer than the last.
CREATE INDEX jobs_due ON jobs ((CASE WHEN run_at > hidden_until THEN run_at ELSE hidden_until END), id) WHERE state = 'ready';
DROP INDEX jobs_ready;
