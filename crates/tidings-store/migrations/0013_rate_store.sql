-- Where the buckets of rate limits are kept: here, or in a Redis that all nodes share. Which of both counts is decided here alone,
-- by compare and set, so that no limit is ever counted in two places (docs/rate-limits.md).
CREATE TABLE rate_store (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- Part of every key, so that installations may share a Redis.
    namespace uuid    NOT NULL DEFAULT gen_random_uuid(),
    -- The run of the Redis that keeps the buckets; null while rate_buckets does. A Redis that was started again is another run.
    redis_run text,
    -- Counts the changes.
    epoch     bigint  NOT NULL DEFAULT 0,
    -- When the last one was, in microseconds since 1970.
    since_us  bigint  NOT NULL DEFAULT 0,
    -- Before this nobody goes back to Redis.
    back_us   bigint  NOT NULL DEFAULT 0
);
INSERT INTO rate_store DEFAULT VALUES;
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON rate_store FROM tidings_app;
REVOKE INSERT, DELETE, TRUNCATE ON rate_store FROM tidings_worker;

-- The last change under which a bucket was handed over to Redis.
ALTER TABLE rate_buckets ADD COLUMN epoch bigint NOT NULL DEFAULT 0;
