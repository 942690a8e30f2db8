-- Whose mail a sender's own address takes. Such an address carries no token that would prove it, so it belongs to one tenant: the
-- first that names it as the sender of a connection with a reply domain. Held while such a connection is there.
CREATE TABLE mail_addresses (
    tenant_id  uuid        NOT NULL REFERENCES tenants (id),
    -- In lower case.
    address    text        NOT NULL CHECK (length(address) <= 320),
    held_since timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, address),
    CONSTRAINT mail_addresses_one_holder UNIQUE (address)
);
SELECT tidings_protect('mail_addresses');

-- Connections that are there already: the oldest holds. The owner of the tables sees no rows of them, the workers' role does.
SET LOCAL ROLE tidings_worker;
INSERT INTO mail_addresses (tenant_id, address, held_since)
SELECT DISTINCT ON (lower(config ->> 'from_email')) tenant_id, lower(config ->> 'from_email'), created_at
FROM connections
WHERE provider = 'smtp'
  AND right(lower(config ->> 'from_email'), length(config ->> 'reply_domain') + 1) = '@' || lower(config ->> 'reply_domain')
  AND length(config ->> 'from_email') <= 320
ORDER BY lower(config ->> 'from_email'), created_at, id;
RESET ROLE;
