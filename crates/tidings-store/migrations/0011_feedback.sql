-- The way back: soft bounces that add up, suppressions that end, mail that finds its connection.

-- When an address soft-bounced, the newest ten; what follows from them is a rule of the program.
ALTER TABLE addresses ADD COLUMN soft_bounced_at timestamptz[] NOT NULL DEFAULT '{}';

ALTER TABLE suppressions ADD COLUMN expires_at timestamptz;
COMMENT ON COLUMN suppressions.expires_at IS 'Ends by itself then; null: stays until it is lifted.';
ALTER TABLE suppressions DROP CONSTRAINT suppressions_reason_check;
ALTER TABLE suppressions ADD CONSTRAINT suppressions_reason_check
    CHECK (reason IN ('hard_bounce', 'complaint', 'unsubscribe', 'stop', 'manual', 'erased', 'soft_bounce')) NOT VALID;
CREATE INDEX suppressions_ending ON suppressions (expires_at) WHERE lifted_at IS NULL AND expires_at IS NOT NULL;

-- Mail names a domain, no tenant: all connections that take mail there are asked, and the address proves which is meant.
CREATE INDEX connections_bounce_domain ON connections (lower(config ->> 'bounce_domain'))
    WHERE provider = 'smtp' AND config ? 'bounce_domain';
CREATE INDEX connections_reply_domain ON connections (lower(config ->> 'reply_domain'))
    WHERE provider = 'smtp' AND config ? 'reply_domain';
