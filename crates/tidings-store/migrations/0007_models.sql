-- The language model a tenant drafts with. One a tenant; without one every message has the words of its template.
CREATE TABLE models (
    tenant_id  uuid        NOT NULL REFERENCES tenants (id),
    -- Its key; sealed under the tenant's key. Null: the endpoint asks for none.
    key_sealed bytea,
    -- Kind, address, name, limits: nothing secret.
    settings   jsonb       NOT NULL,
    enabled    boolean     NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id)
);
SELECT tidings_protect('models');
