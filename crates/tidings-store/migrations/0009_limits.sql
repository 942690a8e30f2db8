-- Rate limits shared between nodes: one bucket a connection, an instant that every lease of slots moves on. Times are
-- microseconds since 1970, because the arithmetic is (tidings-core/src/limit). A connection without a row has a full bucket.
CREATE TABLE rate_buckets (
    tenant_id     uuid     NOT NULL,
    connection_id uuid     NOT NULL,
    -- When the next slot lies.
    next_us       bigint   NOT NULL,
    -- Thousandths of the limit that were left when the provider last said "too many", and when that was: it grows back.
    factor        smallint NOT NULL CHECK (factor BETWEEN 1 AND 1000),
    shrunk_us     bigint   NOT NULL,
    -- Until when the provider asked for quiet.
    paused_us     bigint   NOT NULL,
    PRIMARY KEY (tenant_id, connection_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50);
SELECT tidings_protect('rate_buckets');
REVOKE INSERT, UPDATE, DELETE ON rate_buckets FROM tidings_app;

-- A tenant whose jobs of one type wait for a limit is claimed type by type, so that a million of them in front cost one
-- look and not a million. The rank is indexed as a sum, so that only this index has the order that such a claim asks for:
-- where most rows are of one type the planner would else walk along the primary key and pass over all of them.
CREATE INDEX job_ready_by_type ON job_ready (job_type, tenant_id, (rank + 0), first_id);
