-- The path of a message: message > delivery (one channel) > attempt (one call) > event.
--
-- Rows that are written while messages flow carry no index on a column that changes (status, state), so that
-- status updates stay inside their heap page (HOT). Personal data is sealed by the application before it comes
-- here. Every timestamp comes from the caller's clock.

-- One communication to one contact.
create table messages (
    tenant_id           uuid        not null references tenants (id),
    id                  uuid        not null,
    contact_id          uuid        not null,
    message_type        text        not null,
    category            text        not null check (category in ('transactional', 'service', 'marketing')),
    urgency             text        not null check (urgency in ('critical', 'high', 'normal', 'low')),
    status              text        not null check (status in ('pending', 'queued', 'sent', 'delivered', 'opened',
                                        'clicked', 'failed', 'bounced', 'suppressed', 'cancelled')),
    status_provenance   text        not null check (status_provenance in ('response', 'webhook', 'poll', 'inferred')),
    -- Why it waits, while `pending`: hold, batch or approval; null otherwise.
    waits_for           text        check (waits_for in ('hold', 'batch', 'approval')),
    source_reference    text        check (length(source_reference) between 1 and 500),
    requested_channel   text,
    renderable_channels text[]      not null default '{}',
    locale              text,
    send_at             timestamptz,
    expires_at          timestamptz,
    -- When it is planned to go out; counts in frequency caps until it has gone.
    planned_at          timestamptz,
    -- When its first dispatch began; what frequency caps count.
    dispatched_at       timestamptz,
    accepted_at         timestamptz not null,
    queued_at           timestamptz,
    sent_at             timestamptz,
    delivered_at        timestamptz,
    opened_at           timestamptz,
    clicked_at          timestamptz,
    failed_at           timestamptz,
    approved_at         timestamptz,
    decide_again_at     timestamptz,
    -- A stable code of why it ended without being sent (`consent.missing`, `expired`, a provider's code).
    ended_because       text,
    batch_id            uuid,
    primary key (tenant_id, id),
    foreign key (tenant_id, contact_id) references contacts (tenant_id, id)
) with (fillfactor = 80);
create unique index messages_source on messages (tenant_id, message_type, source_reference)
    where source_reference is not null;
create index messages_contact on messages (tenant_id, contact_id, id);
create index messages_batch on messages (tenant_id, batch_id) where batch_id is not null;

-- What was asked for (part `request`) and what goes out (part = channel), sealed under the contact's key.
create table message_contents (
    tenant_id   uuid  not null references tenants (id),
    message_id  uuid  not null,
    part        text  not null check (part in ('request', 'email', 'sms', 'whatsapp', 'whatsapp_web')),
    sealed      bytea not null,
    template_id uuid,
    primary key (tenant_id, message_id, part),
    foreign key (tenant_id, message_id) references messages (tenant_id, id) on delete cascade
);
alter table message_contents alter column sealed set storage external;

-- Recorded verdicts of the rules, oldest first by id.
create table decisions (
    tenant_id  uuid        not null references tenants (id),
    id         uuid        not null,
    message_id uuid        not null,
    stage      text        not null check (stage in ('accept', 'release', 'gate', 'batch', 'fallback', 'operator')),
    decided_at timestamptz not null,
    facts      jsonb       not null,
    verdict    jsonb       not null,
    reasons    jsonb       not null,
    changes_at timestamptz,
    primary key (tenant_id, message_id, id),
    foreign key (tenant_id, message_id) references messages (tenant_id, id) on delete cascade
);

-- A message on its way over one channel. `position` 0 is the first channel of the plan; fallbacks follow.
create table deliveries (
    tenant_id           uuid        not null references tenants (id),
    id                  uuid        not null,
    message_id          uuid        not null,
    channel             text        not null check (channel in ('email', 'sms', 'whatsapp', 'whatsapp_web')),
    position            smallint    not null,
    -- The whole chain of the plan, this channel included.
    chain               text[]      not null,
    state               text        not null check (state in ('queued', 'dispatching', 'retry_wait', 'accepted',
                                        'delivered', 'bounced', 'failed', 'unknown', 'held', 'dropped', 'stopped')),
    attempt_no          integer     not null default 0,
    job_id              bigint,
    connection_id       uuid,
    provider_message_id text,
    -- Our reference of the newest dispatch: `<delivery id>-<attempt no>`.
    reference           text,
    resolve_after       timestamptz,
    resolve_tries       integer     not null default 0,
    error_category      text,
    last_error          text,
    created_at          timestamptz not null,
    updated_at          timestamptz not null,
    primary key (tenant_id, id),
    foreign key (tenant_id, message_id) references messages (tenant_id, id) on delete cascade
) with (fillfactor = 70);
create index deliveries_message on deliveries (tenant_id, message_id);

-- One call to one connection: inserted before the first byte leaves, completed after.
create table attempts (
    tenant_id           uuid        not null references tenants (id),
    id                  uuid        not null,
    delivery_id         uuid        not null,
    attempt_no          integer     not null,
    connection_id       uuid        not null,
    outcome             text        not null check (outcome in ('intended', 'accepted', 'rejected', 'unknown')),
    category            text,
    code                text,
    detail              text,
    intended_at         timestamptz not null,
    finished_at         timestamptz,
    node                uuid        not null,
    primary key (tenant_id, delivery_id, attempt_no),
    foreign key (tenant_id, delivery_id) references deliveries (tenant_id, id) on delete cascade
) with (fillfactor = 70);

-- The providers' ids of what they accepted: how a webhook finds its delivery. Inserted, never updated.
create table provider_messages (
    tenant_id           uuid not null references tenants (id),
    connection_id       uuid not null,
    provider_message_id text not null,
    delivery_id         uuid not null,
    primary key (tenant_id, connection_id, provider_message_id),
    foreign key (tenant_id, delivery_id) references deliveries (tenant_id, id) on delete cascade
);

-- What nobody knows the outcome of: kept apart so that listing never scans deliveries.
create table unknown_deliveries (
    tenant_id   uuid        not null references tenants (id),
    delivery_id uuid        not null,
    message_id  uuid        not null,
    since       timestamptz not null,
    held        boolean     not null default false,
    primary key (tenant_id, delivery_id),
    foreign key (tenant_id, delivery_id) references deliveries (tenant_id, id) on delete cascade
);

-- What providers, recipients and polls reported.
create table delivery_events (
    tenant_id     uuid        not null references tenants (id),
    id            uuid        not null,
    -- The connection that reported it; the nil UUID for our own pixel, links and pages.
    connection_id uuid        not null,
    dedupe_key    text        not null,
    delivery_id   uuid,
    message_id    uuid,
    kind          text        not null,
    provenance    text        not null,
    bounce_class  text,
    error_category text,
    code          text,
    detail        text,
    occurred_at   timestamptz not null,
    received_at   timestamptz not null,
    primary key (tenant_id, id),
    unique (tenant_id, connection_id, dedupe_key),
    foreign key (tenant_id, message_id) references messages (tenant_id, id) on delete cascade
);
create index delivery_events_message on delivery_events (tenant_id, message_id) where message_id is not null;

-- Answers given under an Idempotency-Key, bound to the body's hash.
create table idempotency_keys (
    tenant_id    uuid        not null references tenants (id),
    key          text        not null check (length(key) between 1 and 255),
    request_hash bytea       not null,
    -- The answer, in the order of the requests, without personal data.
    response     jsonb       not null,
    created_at   timestamptz not null,
    expires_at   timestamptz not null,
    primary key (tenant_id, key)
);
create index idempotency_keys_expiry on idempotency_keys (expires_at);

-- Verified webhooks as they arrived, sealed; a job reads and applies them.
create table webhook_inbox (
    tenant_id     uuid        not null references tenants (id),
    id            uuid        not null,
    connection_id uuid        not null,
    provider      text        not null,
    -- SHA-256 of the signed material: the same webhook twice is stored once.
    digest        bytea       not null,
    sealed        bytea       not null,
    received_at   timestamptz not null,
    processed_at  timestamptz,
    failure       text,
    primary key (tenant_id, id),
    unique (tenant_id, connection_id, digest)
);

-- Messages from contacts.
create table inbound_messages (
    tenant_id           uuid        not null references tenants (id),
    id                  uuid        not null,
    contact_id          uuid,
    connection_id       uuid        not null,
    channel             text        not null,
    dedupe_key          text        not null,
    from_index          bytea       not null,
    sealed              bytea       not null,
    provider_message_id text,
    in_reply_to         uuid,
    keyword             text,
    automatic           boolean     not null default false,
    occurred_at         timestamptz not null,
    received_at         timestamptz not null,
    primary key (tenant_id, id),
    unique (tenant_id, connection_id, dedupe_key)
);
create index inbound_messages_contact on inbound_messages (tenant_id, contact_id, id) where contact_id is not null;
create index inbound_messages_from on inbound_messages (tenant_id, from_index);

-- Low-urgency messages to one contact and channel that go as one.
create table batches (
    tenant_id  uuid        not null references tenants (id),
    id         uuid        not null,
    contact_id uuid        not null,
    channel    text        not null,
    size       integer     not null,
    opened_at  timestamptz not null,
    closes_at  timestamptz not null,
    closed_at  timestamptz,
    -- When it went out, or is planned to: at most one a contact and local day.
    goes_at    timestamptz,
    -- The message that carries the others' content.
    carrier_id uuid,
    primary key (tenant_id, id),
    foreign key (tenant_id, contact_id) references contacts (tenant_id, id)
);
create unique index batches_open on batches (tenant_id, contact_id, channel) where closed_at is null;
create index batches_contact on batches (tenant_id, contact_id, closed_at);

-- What the sandbox provider accepted. One row an accept, duplicates included and flagged: the ledger that proofs
-- count against.
create table sandbox_messages (
    tenant_id           uuid        not null references tenants (id),
    id                  uuid        not null,
    connection_id       uuid        not null,
    reference           text        not null,
    message_id          text        not null,
    provider_message_id text        not null,
    channel             text        not null,
    recipient_index     bytea       not null,
    sealed              bytea       not null,
    duplicate           boolean     not null,
    captured_at         timestamptz not null,
    -- What is to be reported about it in the provider's place, and when.
    follow_up           text,
    follow_up_at        timestamptz,
    primary key (tenant_id, id)
);
create index sandbox_messages_follow_up on sandbox_messages (follow_up_at) where follow_up_at is not null;
create index sandbox_messages_reference on sandbox_messages (tenant_id, connection_id, reference);
alter table sandbox_messages alter column sealed set storage external;

SELECT tidings_protect('messages');
SELECT tidings_protect('message_contents');
SELECT tidings_protect('decisions');
SELECT tidings_protect('deliveries');
SELECT tidings_protect('attempts');
SELECT tidings_protect('provider_messages');
SELECT tidings_protect('unknown_deliveries');
SELECT tidings_protect('delivery_events');
SELECT tidings_protect('idempotency_keys');
SELECT tidings_protect('webhook_inbox');
SELECT tidings_protect('inbound_messages');
SELECT tidings_protect('batches');
SELECT tidings_protect('sandbox_messages');
