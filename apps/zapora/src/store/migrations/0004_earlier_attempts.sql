-- Attempts at a job before it was given up and somebody had it tried again, which begins another series. What was asked in any of them
-- may have had its effect. An older release leaves the number as it is when it begins a series.
ALTER TABLE jobs ADD COLUMN earlier_attempts BIGINT NOT NULL DEFAULT 0;
