-- WhatsApp: the approved template that a template version goes by outside the service window, what Meta says of approved
-- templates, and which of Meta's users are which contacts.

-- {name, language, header, body, buttons}; null: free text only.
ALTER TABLE templates ADD COLUMN whatsapp jsonb
    CHECK (whatsapp IS NULL OR channel = 'whatsapp' AND whatsapp ? 'name' AND whatsapp ? 'language');

-- What Meta last said of an approved template. One it never spoke of counts as approved.
CREATE TABLE whatsapp_templates (
    tenant_id   uuid        NOT NULL REFERENCES tenants (id),
    -- The business account at Meta.
    account     text        NOT NULL CHECK (length(account) <= 64),
    name        text        NOT NULL CHECK (length(name) <= 512),
    language    text        NOT NULL CHECK (length(language) <= 35),
    standing    text        NOT NULL
        CHECK (standing IN ('approved', 'pending', 'rejected', 'paused', 'disabled', 'other')),
    -- Meta's own word and reason.
    word        text        NOT NULL CHECK (length(word) <= 64),
    reason      text        CHECK (length(reason) <= 200),
    reported_at timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, name, language, account)
);
SELECT tidings_protect('whatsapp_templates');

-- A user may write without a phone number, under a business-scoped id. The id is not kept, only its keyed hash.
CREATE TABLE whatsapp_users (
    tenant_id  uuid        NOT NULL REFERENCES tenants (id),
    user_index bytea       NOT NULL CHECK (octet_length(user_index) = 32),
    contact_id uuid        NOT NULL,
    seen_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, user_index),
    FOREIGN KEY (tenant_id, contact_id) REFERENCES contacts (tenant_id, id)
);
CREATE INDEX whatsapp_users_contact ON whatsapp_users (tenant_id, contact_id);
SELECT tidings_protect('whatsapp_users');

-- When the sender was told that a message was read.
ALTER TABLE inbound_messages ADD COLUMN read_at timestamptz;
