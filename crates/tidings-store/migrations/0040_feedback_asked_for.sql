-- Feedback that is asked for: what became of messages whose last report never came, and the providers' own lists of addresses
-- they do not write to. Nothing on the messages' path writes here. No personal data.

-- Whose turn it is to ask at a connection, and when. One row holds the claim, the pause a provider asked for and the time of
-- the next turn: they are the same question.
CREATE TABLE feedback_turns (
    tenant_id     uuid        NOT NULL,
    connection_id uuid        NOT NULL,
    what          text        NOT NULL CHECK (what IN ('reports', 'suppressions')),
    -- Of the turn that was taken last; what it writes is fenced by it.
    claim         uuid        NOT NULL,
    -- Nobody else takes a turn before.
    not_before    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, connection_id, what),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50);
SELECT tidings_protect('feedback_turns');

-- How far each step of asking after the calls of a connection has come: up to this call in order of time and delivery.
CREATE TABLE report_marks (
    tenant_id     uuid        NOT NULL,
    connection_id uuid        NOT NULL,
    step          text        NOT NULL CHECK (step IN ('15m', '1h', '6h', '24h', '72h')),
    asked_to      timestamptz NOT NULL,
    delivery_id   uuid        NOT NULL,
    PRIMARY KEY (tenant_id, connection_id, step),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50);
SELECT tidings_protect('report_marks');

-- How far each list of a provider is read.
CREATE TABLE suppression_marks (
    tenant_id     uuid        NOT NULL,
    connection_id uuid        NOT NULL,
    list          text        NOT NULL CHECK (length(list) BETWEEN 1 AND 64),
    -- Every entry of before is read; null: none was.
    read_to       timestamptz,
    -- While it is being read page by page: up to when, and the next page.
    reading_to    timestamptz,
    page          text        CHECK (length(page) <= 4096),
    PRIMARY KEY (tenant_id, connection_id, list),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50);
SELECT tidings_protect('suppression_marks');

-- Whether an address was let go since a provider listed it.
CREATE INDEX suppressions_lifted ON suppressions (tenant_id, blind_index) WHERE lifted_at IS NOT NULL;
