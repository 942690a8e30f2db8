-- The foundation: roles, row-level security, keys, tenants, contacts, consents, suppressions, templates,
-- connections, API keys, event log and audit log.
--
-- Rules that hold for every table, here and in later migrations (tests/catalogue.rs proves them):
--   * a table with tenant data has `tenant_id`, and ends with `SELECT tidings_protect('<table>')`;
--   * primary keys, unique indexes and foreign keys between tenant tables begin with `tenant_id`;
--   * columns named *_sealed or typed bytea hold ciphertext, wrapped keys, hashes or blind indexes, never plain text.

-- Roles ---------------------------------------------------------------------------------------------------
-- Roles belong to the cluster, not to the database: they may exist already, and another database of the same
-- cluster may be creating them at this very moment.

DO $roles$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['tidings_app', 'tidings_worker'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE', wanted);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN
                    NULL; -- another database was faster
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'the database user "%" may not create the role "%"', current_user, wanted
                        USING ERRCODE = 'insufficient_privilege',
                              HINT = 'Let an administrator run: CREATE ROLE tidings_app NOLOGIN; '
                                     || 'CREATE ROLE tidings_worker NOLOGIN; '
                                     || format('GRANT tidings_app, tidings_worker TO %I;', current_user);
            END;
        END IF;
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = wanted AND (rolsuper OR rolbypassrls)) THEN
            RAISE EXCEPTION 'the role "%" may bypass row-level security', wanted
                USING HINT = format('Let an administrator run: ALTER ROLE %I NOSUPERUSER NOBYPASSRLS;', wanted);
        END IF;
    END LOOP;
END
$roles$;

-- The user who migrates is the user who connects: it must be able to become both roles.
DO $membership$
DECLARE
    wanted text;
    -- Since PostgreSQL 16 membership and the right to SET ROLE are two things.
    needed text := CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['tidings_app', 'tidings_worker'] LOOP
        FOR attempt IN 1..20 LOOP
            EXIT WHEN pg_has_role(current_user, wanted, needed);
            BEGIN
                EXECUTE format('GRANT %I TO %I', wanted, current_user);
            EXCEPTION
                WHEN unique_violation OR internal_error THEN
                    NULL; -- "tuple concurrently updated": another database grants the same, look again
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'the database user "%" may not become the role "%"', current_user, wanted
                        USING ERRCODE = 'insufficient_privilege',
                              HINT = format('Let an administrator run: GRANT tidings_app, tidings_worker TO %I;', current_user);
            END;
        END LOOP;
    END LOOP;
END
$membership$;

GRANT USAGE ON SCHEMA public TO tidings_app, tidings_worker;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO tidings_app, tidings_worker;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO tidings_app, tidings_worker;

-- Puts the two walls around a table of tenant data: the API's role sees one tenant, the one of the transaction;
-- the workers' role sees all, because batches span tenants. FORCE: not even the owner is exempt.
CREATE FUNCTION tidings_protect(target regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format(
        'CREATE POLICY one_tenant ON %s FOR ALL TO tidings_app '
        'USING (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid) '
        'WITH CHECK (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid)', target);
    EXECUTE format('CREATE POLICY all_tenants ON %s FOR ALL TO tidings_worker USING (true) WITH CHECK (true)', target);
END
$$;
REVOKE EXECUTE ON FUNCTION tidings_protect(regclass) FROM PUBLIC;

-- The installation ----------------------------------------------------------------------------------------

-- Facts about this database as a whole (identity, fence). No tenant data.
CREATE TABLE schema_settings (
    key        text        PRIMARY KEY,
    value      jsonb       NOT NULL,
    updated_at timestamptz NOT NULL
);
REVOKE INSERT, UPDATE, DELETE ON schema_settings FROM tidings_app;

-- One row a master key ever used: proves at start that the configured key is the right one.
CREATE TABLE master_key_check (
    master_key_id text        PRIMARY KEY,
    check_sealed  bytea       NOT NULL,
    created_at    timestamptz NOT NULL,
    retired_at    timestamptz
);
REVOKE ALL ON master_key_check FROM tidings_app;

-- Tenants -------------------------------------------------------------------------------------------------

CREATE TABLE tenants (
    id         uuid        PRIMARY KEY,
    slug       text        NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name       text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    status     text        NOT NULL CHECK (status IN ('active', 'suspended', 'closed')),
    policy     jsonb       NOT NULL DEFAULT '{}',
    settings   jsonb       NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON tenants FOR ALL TO tidings_app
    USING (id = nullif(current_setting('app.tenant', true), '')::uuid)
    WITH CHECK (id = nullif(current_setting('app.tenant', true), '')::uuid);
CREATE POLICY all_tenants ON tenants FOR ALL TO tidings_worker USING (true) WITH CHECK (true);
REVOKE INSERT, DELETE ON tenants FROM tidings_app;

-- A tenant's data key, wrapped by a master key. Lost with it: everything sealed for the tenant.
CREATE TABLE tenant_keys (
    tenant_id     uuid        NOT NULL REFERENCES tenants (id),
    number        integer     NOT NULL CHECK (number > 0),
    master_key_id text        NOT NULL,
    wrapped       bytea       NOT NULL,
    created_at    timestamptz NOT NULL,
    wrapped_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, number)
);
CREATE INDEX tenant_keys_by_master ON tenant_keys (master_key_id);
SELECT tidings_protect('tenant_keys');
REVOKE INSERT, UPDATE, DELETE ON tenant_keys FROM tidings_app;

-- Contacts ------------------------------------------------------------------------------------------------

CREATE TABLE contacts (
    tenant_id                uuid        NOT NULL REFERENCES tenants (id),
    id                       uuid        NOT NULL,
    external_id              text        CHECK (length(external_id) BETWEEN 1 AND 200),
    name_sealed              bytea,
    attributes_sealed        bytea,
    zone                     text,
    locale                   text,
    country                  text        CHECK (country ~ '^[A-Z]{2}$'),
    preferred_channels       text[]      NOT NULL DEFAULT '{}',
    -- Channels opted out of by preference; transactional messages still go.
    opted_out                text[]      NOT NULL DEFAULT '{}',
    -- Channels stopped by STOP; nothing goes.
    stopped                  text[]      NOT NULL DEFAULT '{}',
    -- Array of {start, end}, local times.
    quiet_hours              jsonb       NOT NULL DEFAULT '[]',
    paused_until             timestamptz,
    last_whatsapp_inbound_at timestamptz,
    last_sent_at             timestamptz,
    erased_at                timestamptz,
    created_at               timestamptz NOT NULL,
    updated_at               timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, external_id)
) WITH (fillfactor = 85);
SELECT tidings_protect('contacts');
REVOKE DELETE ON contacts FROM tidings_app;

-- A contact's data key, wrapped by the tenant's. Erasure sets `wrapped` to null and keeps the row, so that no new
-- key can be made for an erased contact.
CREATE TABLE contact_keys (
    tenant_id    uuid        NOT NULL,
    contact_id   uuid        NOT NULL,
    wrapped      bytea,
    created_at   timestamptz NOT NULL,
    destroyed_at timestamptz,
    PRIMARY KEY (tenant_id, contact_id),
    FOREIGN KEY (tenant_id, contact_id) REFERENCES contacts (tenant_id, id) ON DELETE CASCADE,
    CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
);
SELECT tidings_protect('contact_keys');
REVOKE DELETE ON contact_keys FROM tidings_app;

CREATE TABLE addresses (
    tenant_id           uuid        NOT NULL,
    id                  uuid        NOT NULL,
    contact_id          uuid        NOT NULL,
    kind                text        NOT NULL CHECK (kind IN ('email', 'phone')),
    value_sealed        bytea       NOT NULL,
    blind_index         bytea       NOT NULL CHECK (octet_length(blind_index) = 32),
    is_primary          boolean     NOT NULL,
    -- Well formed. A malformed one is kept so that it can be listed and put right.
    valid               boolean     NOT NULL,
    -- Why it must not be used although it is well formed (a provider's word).
    known_bad           text,
    known_bad_at        timestamptz,
    soft_bounces        integer     NOT NULL DEFAULT 0,
    last_soft_bounce_at timestamptz,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, contact_id, blind_index),
    FOREIGN KEY (tenant_id, contact_id) REFERENCES contacts (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX addresses_one_primary ON addresses (tenant_id, contact_id, kind) WHERE is_primary;
CREATE INDEX addresses_by_value ON addresses (tenant_id, blind_index);
CREATE INDEX addresses_to_mend ON addresses (tenant_id, id) WHERE NOT valid OR known_bad IS NOT NULL;
SELECT tidings_protect('addresses');

-- Append-only: what a contact agreed to, when, and in which words.
CREATE TABLE consents (
    tenant_id  uuid        NOT NULL,
    id         uuid        NOT NULL,
    contact_id uuid        NOT NULL,
    purpose    text        NOT NULL CHECK (purpose IN ('transactional', 'service', 'marketing')),
    -- Null: every channel.
    channel    text        CHECK (channel IN ('email', 'sms', 'whatsapp', 'whatsapp_web')),
    granted    boolean     NOT NULL,
    source     text        NOT NULL CHECK (length(source) BETWEEN 1 AND 200),
    wording    text        CHECK (length(wording) <= 4000),
    at         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, contact_id) REFERENCES contacts (tenant_id, id)
);
CREATE INDEX consents_of_contact ON consents (tenant_id, contact_id, at DESC, id DESC);
SELECT tidings_protect('consents');
REVOKE UPDATE, DELETE ON consents FROM tidings_app, tidings_worker;

-- By address, not by contact: it outlives the contact and stops a re-import.
CREATE TABLE suppressions (
    tenant_id   uuid        NOT NULL REFERENCES tenants (id),
    id          uuid        NOT NULL,
    channel     text        NOT NULL CHECK (channel IN ('email', 'sms', 'whatsapp', 'whatsapp_web')),
    blind_index bytea       NOT NULL CHECK (octet_length(blind_index) = 32),
    reason      text        NOT NULL
        CHECK (reason IN ('hard_bounce', 'complaint', 'unsubscribe', 'stop', 'manual', 'erased')),
    source      text        NOT NULL CHECK (length(source) BETWEEN 1 AND 200),
    -- A short code, never an address.
    detail      text        CHECK (length(detail) <= 64),
    created_at  timestamptz NOT NULL,
    lifted_at   timestamptz,
    lifted_by   text        CHECK (length(lifted_by) <= 200),
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX suppressions_in_force ON suppressions (tenant_id, blind_index, channel, reason)
    WHERE lifted_at IS NULL;
SELECT tidings_protect('suppressions');
REVOKE DELETE ON suppressions FROM tidings_app;

-- Templates -----------------------------------------------------------------------------------------------

CREATE TABLE templates (
    tenant_id    uuid        NOT NULL REFERENCES tenants (id),
    id           uuid        NOT NULL,
    message_type text        NOT NULL CHECK (message_type ~ '^[a-z][a-z0-9_]{0,63}$'),
    channel      text        NOT NULL CHECK (channel IN ('email', 'sms', 'whatsapp', 'whatsapp_web')),
    locale       text        NOT NULL CHECK (length(locale) BETWEEN 2 AND 35),
    version      integer     NOT NULL CHECK (version > 0),
    state        text        NOT NULL CHECK (state IN ('draft', 'published', 'archived')),
    subject      text        CHECK (length(subject) <= 998),
    body         text        NOT NULL CHECK (octet_length(body) <= 1048576),
    body_format  text        NOT NULL CHECK (body_format IN ('html', 'mjml', 'text')),
    text_body    text        CHECK (octet_length(text_body) <= 1048576),
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    published_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, message_type, channel, locale, version)
);
CREATE UNIQUE INDEX templates_one_published ON templates (tenant_id, message_type, channel, locale)
    WHERE state = 'published';
CREATE UNIQUE INDEX templates_one_draft ON templates (tenant_id, message_type, channel, locale)
    WHERE state = 'draft';
SELECT tidings_protect('templates');

-- Connections ---------------------------------------------------------------------------------------------

CREATE TABLE connections (
    tenant_id            uuid        NOT NULL REFERENCES tenants (id),
    id                   uuid        NOT NULL,
    name                 text        NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    channel              text        NOT NULL CHECK (channel IN ('email', 'sms', 'whatsapp', 'whatsapp_web')),
    provider             text        NOT NULL,
    -- Sender identity, base URL, options: nothing secret.
    config               jsonb       NOT NULL DEFAULT '{}',
    credentials_sealed   bytea,
    -- Lower is tried first.
    priority             integer     NOT NULL DEFAULT 0,
    weight               integer     NOT NULL DEFAULT 1 CHECK (weight BETWEEN 0 AND 1000),
    enabled              boolean     NOT NULL,
    -- {limit, per_ms}; null: the provider's default.
    rate_limit           jsonb,
    breaker              text        NOT NULL DEFAULT 'closed' CHECK (breaker IN ('closed', 'open', 'half_open')),
    breaker_cause        text        CHECK (length(breaker_cause) <= 200),
    breaker_failures     integer     NOT NULL DEFAULT 0,
    breaker_changed_at   timestamptz,
    -- While open: when a probe may be tried.
    breaker_retry_at     timestamptz,
    -- While half open: until when one node holds the single probe.
    breaker_probe_until  timestamptz,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
) WITH (fillfactor = 70);
SELECT tidings_protect('connections');

-- API keys ------------------------------------------------------------------------------------------------

-- Looked up before the tenant is known, by a random public prefix: hence its own key and policies. A key without a
-- tenant belongs to the operator of the installation.
CREATE TABLE api_keys (
    id           uuid        PRIMARY KEY,
    tenant_id    uuid        REFERENCES tenants (id),
    name         text        NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    prefix       text        NOT NULL UNIQUE,
    hash         bytea       NOT NULL CHECK (octet_length(hash) = 32),
    scopes       text[]      NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);
CREATE INDEX api_keys_of_tenant ON api_keys (tenant_id, id);
ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON api_keys FOR ALL TO tidings_app
    USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
-- Who presents a key may see, and mark as used, exactly the row with its prefix.
CREATE POLICY presented_read ON api_keys FOR SELECT TO tidings_app
    USING (prefix = nullif(current_setting('app.api_key_prefix', true), ''));
CREATE POLICY presented_mark ON api_keys FOR UPDATE TO tidings_app
    USING (prefix = nullif(current_setting('app.api_key_prefix', true), ''))
    WITH CHECK (prefix = nullif(current_setting('app.api_key_prefix', true), ''));
CREATE POLICY all_tenants ON api_keys FOR ALL TO tidings_worker USING (true) WITH CHECK (true);
REVOKE UPDATE, DELETE ON api_keys FROM tidings_app;
GRANT UPDATE (last_used_at, revoked_at) ON api_keys TO tidings_app;

-- Logs ----------------------------------------------------------------------------------------------------

-- Append-only. No foreign keys: entries outlive what they speak of. `data` holds no personal data.
CREATE TABLE event_log (
    tenant_id  uuid        NOT NULL,
    id         uuid        NOT NULL,
    at         timestamptz NOT NULL,
    kind       text        NOT NULL CHECK (length(kind) BETWEEN 1 AND 100),
    contact_id uuid,
    message_id uuid,
    -- What else it is about: a connection, template, key, job.
    subject    text        CHECK (length(subject) <= 200),
    data       jsonb       NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX event_log_of_contact ON event_log (tenant_id, contact_id, id) WHERE contact_id IS NOT NULL;
CREATE INDEX event_log_of_message ON event_log (tenant_id, message_id, id) WHERE message_id IS NOT NULL;
SELECT tidings_protect('event_log');
REVOKE UPDATE, DELETE ON event_log FROM tidings_app;
REVOKE UPDATE ON event_log FROM tidings_worker;

-- Append-only, hash-chained per tenant. The nil tenant is the operator's chain.
CREATE TABLE audit_log (
    tenant_id     uuid        NOT NULL,
    seq           bigint      NOT NULL CHECK (seq > 0),
    at            timestamptz NOT NULL,
    actor         text        NOT NULL CHECK (length(actor) BETWEEN 1 AND 200),
    action        text        NOT NULL CHECK (length(action) BETWEEN 1 AND 100),
    object        text        NOT NULL CHECK (length(object) <= 200),
    -- Whose key seals the detail; null: the tenant's.
    contact_id    uuid,
    detail_sealed bytea,
    prev_hash     bytea       NOT NULL CHECK (octet_length(prev_hash) = 32),
    hash          bytea       NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (tenant_id, seq)
);
SELECT tidings_protect('audit_log');
REVOKE UPDATE, DELETE ON audit_log FROM tidings_app, tidings_worker;

-- The end of each chain: locked by whoever appends.
CREATE TABLE audit_heads (
    tenant_id uuid   NOT NULL PRIMARY KEY,
    seq       bigint NOT NULL,
    hash      bytea  NOT NULL CHECK (octet_length(hash) = 32)
) WITH (fillfactor = 50);
SELECT tidings_protect('audit_heads');
REVOKE DELETE ON audit_heads FROM tidings_app, tidings_worker;
