-- Lifecycle campaigns: a tenant's source, what it changes about campaigns, their runs, and what became of each due row.

-- A tenant's own operational database, read only. One a tenant.
CREATE TABLE sources (
    tenant_id  uuid        NOT NULL REFERENCES tenants (id),
    -- How it is reached, with its credentials; sealed under the tenant's key.
    access_sealed bytea       NOT NULL,
    -- Kind, limits, zone: nothing secret.
    settings   jsonb       NOT NULL,
    mapping    jsonb       NOT NULL,
    enabled    boolean     NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id)
);
SELECT tidings_protect('sources');

-- What a tenant changes about a built-in campaign, or a campaign of its own.
CREATE TABLE campaigns (
    tenant_id  uuid        NOT NULL REFERENCES tenants (id),
    name       text        NOT NULL CHECK (name ~ '^[a-z][a-z0-9_]{0,63}$'),
    -- `own`: a whole definition; else changes to the built-in one of the name.
    own        boolean     NOT NULL,
    definition jsonb       NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, name)
);
SELECT tidings_protect('campaigns');

-- Types of campaigns whose messages wait for a person's yes; kept by whoever changes `campaigns`.
ALTER TABLE tenants ADD COLUMN approval_campaign_types text[] NOT NULL DEFAULT '{}';

-- One look of a campaign at the source. The moment it stands for makes it unique, so two nodes never run one twice.
CREATE TABLE campaign_runs (
    tenant_id      uuid        NOT NULL REFERENCES tenants (id),
    id             uuid        NOT NULL,
    campaign       text        NOT NULL,
    -- The moment: rules look at the source as of it, however late the run is.
    as_of          timestamptz NOT NULL,
    -- Asked for by a person, beside the schedule: the next scheduled run covers what it would have covered anyway.
    by_hand        boolean     NOT NULL DEFAULT false,
    -- Moments after this one are covered; set when the run begins. Null: the first run.
    previous       timestamptz,
    -- The definition it runs by, pinned when it begins.
    definition     jsonb,
    state          text        NOT NULL CHECK (state IN ('waiting', 'running', 'complete', 'failed')),
    -- Key of the last row of the source that was looked at.
    after_key      text,
    scanned        bigint      NOT NULL DEFAULT 0 CHECK (scanned >= 0),
    due            bigint      NOT NULL DEFAULT 0 CHECK (due >= 0),
    tries          integer     NOT NULL DEFAULT 0,
    next_try_at    timestamptz NOT NULL,
    last_error     text        CHECK (length(last_error) <= 2000),
    error_category text,
    -- The fence: counts up with every claim.
    claim          bigint      NOT NULL DEFAULT 0,
    node_id        uuid,
    lease_until    timestamptz,
    created_at     timestamptz NOT NULL,
    started_at     timestamptz,
    finished_at    timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, campaign, as_of)
);
-- Runs of a campaign follow each other.
CREATE UNIQUE INDEX campaign_runs_one_at_a_time ON campaign_runs (tenant_id, campaign) WHERE state = 'running';
-- Few at any moment; what claims and follows each other is found here, however many runs there were.
CREATE INDEX campaign_runs_open ON campaign_runs (tenant_id, campaign, as_of) WHERE state IN ('waiting', 'running');
CREATE INDEX campaign_runs_latest ON campaign_runs (tenant_id, as_of DESC, id);
CREATE INDEX campaign_runs_complete ON campaign_runs (tenant_id, campaign, as_of) WHERE state = 'complete' AND NOT by_hand;
SELECT tidings_protect('campaign_runs');

-- What became of each due row, and of each row whose being due cannot be told.
CREATE TABLE campaign_rows (
    tenant_id  uuid        NOT NULL,
    run_id     uuid        NOT NULL,
    row_key    text        NOT NULL CHECK (length(row_key) <= 1000),
    occurrence text        NOT NULL CHECK (length(occurrence) <= 200),
    outcome    text        NOT NULL
               CHECK (outcome IN ('proposed', 'held', 'suppressed', 'duplicate', 'malformed', 'unreachable')),
    -- A stable code of why, where there is one to say.
    code       text        CHECK (length(code) <= 100),
    -- A sentence without personal data.
    detail     text        CHECK (length(detail) <= 1000),
    contact_id uuid,
    message_id uuid,
    at         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, run_id, row_key, occurrence),
    FOREIGN KEY (tenant_id, run_id) REFERENCES campaign_runs (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX campaign_rows_of_row ON campaign_rows (tenant_id, row_key, run_id);
CREATE INDEX campaign_rows_by_outcome ON campaign_rows (tenant_id, run_id, outcome, row_key, occurrence);
SELECT tidings_protect('campaign_rows');
