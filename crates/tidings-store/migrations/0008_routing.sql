-- Failover that can be watched: why a breaker opened, the way back after it closed, why a call went where it went, and
-- what each node saw of a connection.
ALTER TABLE connections
    -- Rises with every change of the breaker: two nodes that see the same failure make one change.
    ADD COLUMN breaker_version    bigint      NOT NULL DEFAULT 0,
    ADD COLUMN breaker_trip       text        CHECK (breaker_trip IN ('failures_in_a_row', 'failure_rate', 'auth_refused',
                                                  'probe_failed', 'ramp_failed', 'drill')),
    -- While closed: since when the connection gets its share back in steps.
    ADD COLUMN breaker_ramp_from  timestamptz,
    -- How long one call may take; null: as long as the process allows.
    ADD COLUMN call_limit_ms      integer     CHECK (call_limit_ms BETWEEN 100 AND 600000);

-- Why this connection, and why not a better one: {why, passed_over}. Null: the best there was.
ALTER TABLE attempts ADD COLUMN route jsonb;

-- What each node saw of a connection in the last minutes; written every few seconds while there is traffic, so no call
-- waits for it. Readers add up what is not too old.
CREATE TABLE connection_health (
    tenant_id     uuid        NOT NULL,
    connection_id uuid        NOT NULL,
    node          uuid        NOT NULL,
    calls         integer     NOT NULL,
    failed        integer     NOT NULL,
    latency_ms    bigint      NOT NULL,
    at            timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, connection_id, node),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50);
SELECT tidings_protect('connection_health');
