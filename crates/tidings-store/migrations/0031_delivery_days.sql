-- What became of deliveries, by day: counted from the ledger (deliveries, attempts, delivery_events), a day as a whole, so that
-- counting it again gives the same. No personal data.

-- The day (UTC) of a UUID version 7: that of its first 48 bits, in milliseconds.
CREATE FUNCTION tidings_day_of(id uuid) RETURNS date
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT (to_timestamp(('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0) AT TIME ZONE 'UTC')::date
$$;

CREATE TABLE delivery_days (
    tenant_id            uuid    NOT NULL REFERENCES tenants (id),
    -- On which the deliveries were made, UTC.
    day                  date    NOT NULL,
    -- That of the newest attempt; nil where none was begun. It may have been removed since.
    connection_id        uuid    NOT NULL,
    provider             text    NOT NULL,
    channel              text    NOT NULL,
    message_type         text    NOT NULL,
    deliveries           bigint  NOT NULL,
    accepted             bigint  NOT NULL,
    delivered            bigint  NOT NULL,
    bounced              bigint  NOT NULL,
    bounced_hard         bigint  NOT NULL,
    bounced_soft         bigint  NOT NULL,
    bounced_block        bigint  NOT NULL,
    complained           bigint  NOT NULL,
    failed               bigint  NOT NULL,
    failed_transient     bigint  NOT NULL,
    failed_permanent     bigint  NOT NULL,
    failed_rate_limit    bigint  NOT NULL,
    failed_auth_failure  bigint  NOT NULL,
    failed_invalid_input bigint  NOT NULL,
    -- Outcomes nobody knows, those that wait for a person included.
    unknown              bigint  NOT NULL,
    -- Not called yet, or to be called again.
    waiting              bigint  NOT NULL,
    -- Of unknown outcome, given up.
    dropped              bigint  NOT NULL,
    -- Called off before they left.
    stopped              bigint  NOT NULL,
    opened               bigint  NOT NULL,
    machine_opened       bigint  NOT NULL,
    clicked              bigint  NOT NULL,
    replied              bigint  NOT NULL,
    PRIMARY KEY (tenant_id, day, connection_id, channel, message_type)
);
-- Days that are not over: what waits there may still move without a report.
CREATE INDEX delivery_days_open ON delivery_days (tenant_id, day) WHERE waiting > 0 OR unknown > 0;
SELECT tidings_protect('delivery_days');

-- How long deliveries took to arrive: how many fell into which stretch of time.
CREATE TABLE delivery_day_times (
    tenant_id     uuid     NOT NULL REFERENCES tenants (id),
    day           date     NOT NULL,
    connection_id uuid     NOT NULL,
    channel       text     NOT NULL,
    message_type  text     NOT NULL,
    bucket        smallint NOT NULL,
    deliveries    bigint   NOT NULL,
    PRIMARY KEY (tenant_id, day, connection_id, channel, message_type, bucket)
);
SELECT tidings_protect('delivery_day_times');

-- Days that are to be counted, or counted again.
CREATE TABLE delivery_day_marks (
    tenant_id uuid        NOT NULL REFERENCES tenants (id),
    day       date        NOT NULL,
    marked_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, day)
);
SELECT tidings_protect('delivery_day_marks');

-- Up to when was looked for days to mark.
CREATE TABLE delivery_day_progress (
    tenant_id uuid        NOT NULL REFERENCES tenants (id),
    marked_to timestamptz NOT NULL,
    PRIMARY KEY (tenant_id)
);
SELECT tidings_protect('delivery_day_progress');
