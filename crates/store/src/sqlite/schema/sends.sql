-- Version 10: what is known of sends whose outcome is in doubt.

-- How many attempts that may have been repetitions ended without anybody knowing whether they took effect.
ALTER TABLE outbox ADD COLUMN repeats INTEGER NOT NULL DEFAULT 0;
-- The platform took it, and may have shown it to nobody.
ALTER TABLE outbox ADD COLUMN delivery_doubted INTEGER NOT NULL DEFAULT 0 CHECK (delivery_doubted IN (0, 1));
