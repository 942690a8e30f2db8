-- Alerts: what an operator must hear of, who was told, and what is configured for it.

-- Thresholds and notifiers of a tenant. One row a tenant; without one the product's thresholds hold and nobody is told.
CREATE TABLE alert_settings (
    tenant_id      uuid        NOT NULL REFERENCES tenants (id),
    -- Thresholds, which notifiers there are, the digest's hour: nothing secret.
    settings       jsonb       NOT NULL,
    -- Routing key, webhook URL and the digest's address; sealed under the tenant's key.
    secrets_sealed bytea,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id)
);
SELECT tidings_protect('alert_settings');

CREATE TABLE alerts (
    tenant_id       uuid        NOT NULL REFERENCES tenants (id),
    id              uuid        NOT NULL,
    rule            text        NOT NULL CHECK (length(rule) BETWEEN 1 AND 64),
    -- The connection, provider, channel or campaign; `tenant` for the whole.
    subject         text        NOT NULL CHECK (length(subject) BETWEEN 1 AND 200),
    severity        text        NOT NULL CHECK (severity IN ('critical', 'high', 'medium', 'low')),
    state           text        NOT NULL CHECK (state IN ('open', 'resolved')),
    -- A sentence with the figures, without personal data.
    detail          text        NOT NULL CHECK (length(detail) <= 1000),
    -- What notifiers know it by: repeated calls are one incident.
    dedup_key       text        NOT NULL CHECK (length(dedup_key) BETWEEN 1 AND 255),
    opened_at       timestamptz NOT NULL,
    last_seen_at    timestamptz NOT NULL,
    resolved_at     timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by text        CHECK (length(acknowledged_by) <= 200),
    PRIMARY KEY (tenant_id, id),
    CHECK ((state = 'resolved') = (resolved_at IS NOT NULL)),
    CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL))
);
CREATE UNIQUE INDEX alerts_one_open ON alerts (tenant_id, rule, subject) WHERE state = 'open';
CREATE INDEX alerts_over ON alerts (resolved_at) WHERE state = 'resolved';
SELECT tidings_protect('alerts');

-- What each notifier was told of an alert. One row for both words, so that what is said follows from what was said.
CREATE TABLE alert_notifications (
    tenant_id  uuid        NOT NULL,
    alert_id   uuid        NOT NULL,
    notifier   text        NOT NULL CHECK (notifier IN ('pagerduty', 'slack', 'digest')),
    told       text        NOT NULL CHECK (told IN ('nothing', 'open', 'over')),
    -- waiting: a word is due or on its way; settled: nothing more to say now; failed: given up, see last_error.
    state      text        NOT NULL CHECK (state IN ('waiting', 'settled', 'failed')),
    -- A call had no answer: the notifier may know more than `told`.
    perhaps    boolean     NOT NULL DEFAULT false,
    tries      integer     NOT NULL DEFAULT 0 CHECK (tries >= 0),
    last_error text        CHECK (length(last_error) <= 1000),
    -- While one worker makes the call, no other does.
    busy_until timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, alert_id, notifier),
    FOREIGN KEY (tenant_id, alert_id) REFERENCES alerts (tenant_id, id) ON DELETE CASCADE
);
SELECT tidings_protect('alert_notifications');

-- Alerts and analytics look at the calls of a stretch of time. The column never changes, so outcomes still write in place.
CREATE INDEX attempts_by_time ON attempts (tenant_id, intended_at);
