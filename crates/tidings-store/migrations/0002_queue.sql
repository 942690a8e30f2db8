-- The queue. `communication_jobs` is the truth and a public contract; everything else here says which of its rows are
-- due, scheduled, leased or given up, in narrow tables that are inserted into and deleted from, never updated in place.
--
-- The life of a job, one row of exactly one of these at any moment until it ends:
--   job_arrivals (inserted by another program) -> job_scheduled (not due yet) -> job_ready -> job_leases -> end or job_scheduled
-- Every step is one transaction, so a snapshot never sees a job twice, nor a pending job nowhere (sweep.rs checks it).

-- Jobs ----------------------------------------------------------------------------------------------------

-- The identity counts in blocks of 1024: the engine takes a block with one nextval and owns id .. id+1023, so that jobs
-- enqueued together have consecutive ids and one row of job_ready stands for all of them. A row of another program
-- takes the first id of a block.
-- fillfactor: status changes stay on their page and, as no index mentions a changing column, touch no index (HOT).
CREATE TABLE communication_jobs (
    id               bigint      GENERATED ALWAYS AS IDENTITY (INCREMENT BY 1024 START WITH 1024 MINVALUE 1024 CACHE 1) PRIMARY KEY,
    tenant_id        uuid        NOT NULL,
    job_type         text        NOT NULL CHECK (length(job_type) BETWEEN 1 AND 100),
    payload          jsonb       NOT NULL DEFAULT '{}',
    status           text        NOT NULL DEFAULT 'pending'
                     CHECK (status IN ('pending', 'processing', 'complete', 'failed', 'failed_fallback_email', 'cancelled')),
    -- Tries that the far side refused. A wait for a rate limit is not one.
    retry_count      integer     NOT NULL DEFAULT 0 CHECK (retry_count >= 0),
    max_retries      integer     NOT NULL DEFAULT 3 CHECK (max_retries >= 0),
    -- Leases that ended without a result: the worker died. Counted apart, to find jobs that kill their worker.
    crash_count      smallint    NOT NULL DEFAULT 0,
    -- 0 (last) .. 100 (first). Null: from the job type and payload.urgent, filled in when the engine takes the row up.
    priority         smallint    CHECK (priority BETWEEN 0 AND 100),
    last_error       text,
    error_category   text,
    -- Not before this moment; after a failed try the moment of the next one. Never earlier than created_at once taken up.
    process_after    timestamptz NOT NULL DEFAULT now(),
    source_reference text        CHECK (length(source_reference) BETWEEN 1 AND 500),
    created_at       timestamptz NOT NULL DEFAULT now(),
    finished_at      timestamptz
) WITH (fillfactor = 55, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,
        autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX communication_jobs_once ON communication_jobs (tenant_id, job_type, source_reference)
    WHERE source_reference IS NOT NULL;
SELECT tidings_protect('communication_jobs');
-- The public contract: any other role may do here what it was granted, usually INSERT. The API's role stays with its tenant.
CREATE POLICY other_programs ON communication_jobs FOR ALL TO PUBLIC
    USING (current_user <> 'tidings_app') WITH CHECK (current_user <> 'tidings_app');
COMMENT ON TABLE communication_jobs IS
    'The queue. Any program may insert tenant_id, job_type and payload; the defaults do the rest.';

-- Runs of consecutive jobs of one tenant, type and priority that are due now. `rank` orders them: due time in
-- milliseconds less five minutes for each point of priority, so priority goes first and nothing starves.
CREATE TABLE job_ready (
    tenant_id uuid     NOT NULL,
    rank      bigint   NOT NULL,
    first_id  bigint   NOT NULL,
    n         integer  NOT NULL CHECK (n BETWEEN 1 AND 1024),
    job_type  text     NOT NULL,
    priority  smallint NOT NULL,
    PRIMARY KEY (tenant_id, rank, first_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 0.1);
SELECT tidings_protect('job_ready');

-- Runs that are not due yet: process_after in the future, or waiting for the next try.
CREATE TABLE job_scheduled (
    tenant_id uuid        NOT NULL,
    due_at    timestamptz NOT NULL,
    rank      bigint      NOT NULL,
    first_id  bigint      NOT NULL,
    n         integer     NOT NULL CHECK (n BETWEEN 1 AND 1024),
    job_type  text        NOT NULL,
    priority  smallint    NOT NULL,
    PRIMARY KEY (tenant_id, due_at, first_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 0.1);
CREATE INDEX job_scheduled_due ON job_scheduled (due_at);
SELECT tidings_protect('job_scheduled');

-- One row for each batch that a node works on, with the runs it still holds (the arrays are parallel). It is the fence:
-- who no longer finds its lease may not complete. Spans tenants, so only the workers' role reads it.
CREATE TABLE job_leases (
    lease_id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node_id    uuid        NOT NULL,
    claimed_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    -- The jobs of the lease show `processing`; set by the first heartbeat, so short work is not written twice.
    marked     boolean     NOT NULL DEFAULT false,
    tenants    uuid[]      NOT NULL,
    job_types  text[]      NOT NULL,
    priorities smallint[]  NOT NULL,
    ranks      bigint[]    NOT NULL,
    first_ids  bigint[]    NOT NULL,
    counts     integer[]   NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_cost_delay = 0);
REVOKE ALL ON job_leases FROM tidings_app;

-- Rows that other programs inserted and the engine has not taken up. Set aside: of a type this version does not know.
CREATE TABLE job_arrivals (
    job_id    bigint  PRIMARY KEY,
    set_aside boolean NOT NULL DEFAULT false
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX job_arrivals_new ON job_arrivals (job_id) WHERE NOT set_aside;
REVOKE ALL ON job_arrivals FROM tidings_app;

-- Jobs given up, until they are replayed or purged.
CREATE TABLE dead_letters (
    tenant_id uuid        NOT NULL,
    job_id    bigint      NOT NULL,
    job_type  text        NOT NULL,
    priority  smallint    NOT NULL,
    cause     text        NOT NULL,
    category  text        NOT NULL,
    died_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, job_id)
);
CREATE INDEX dead_letters_latest ON dead_letters (tenant_id, died_at, job_id);
SELECT tidings_protect('dead_letters');

-- How many jobs ended how. Appended by every completion, added up into hours by maintenance.
CREATE TABLE job_tallies (
    tenant_id uuid        NOT NULL,
    hour      timestamptz NOT NULL,
    job_type  text        NOT NULL,
    priority  smallint    NOT NULL,
    outcome   text        NOT NULL,
    n         bigint      NOT NULL,
    rolled_up boolean     NOT NULL DEFAULT false
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX job_tallies_hour ON job_tallies (tenant_id, hour, job_type, priority, outcome) WHERE rolled_up;
CREATE INDEX job_tallies_fresh ON job_tallies (hour) WHERE NOT rolled_up;
SELECT tidings_protect('job_tallies');

-- Nodes and the guard -------------------------------------------------------------------------------------

-- Running processes. `idle`: sleeps until it is notified or its poll comes round.
CREATE TABLE queue_nodes (
    node_id    uuid        PRIMARY KEY,
    name       text        NOT NULL,
    version    text        NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,
    idle       boolean     NOT NULL DEFAULT false,
    draining   boolean     NOT NULL DEFAULT false
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_cost_delay = 0);
REVOKE INSERT, UPDATE, DELETE ON queue_nodes FROM tidings_app;

-- Which database this is. A copy or a restored backup of it must not send what the original sends or has sent:
-- it differs from its stamp, and nothing is claimed until an operator lifts the fence.
CREATE TABLE queue_guard (
    only_row    boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    system      text        NOT NULL,
    database    text        NOT NULL,
    timeline    text        NOT NULL,
    -- A standby that was promoted is on a new timeline, like a backup restored to a point in time.
    on_timeline text        NOT NULL DEFAULT 'fence' CHECK (on_timeline IN ('fence', 'follow')),
    fenced      boolean     NOT NULL DEFAULT false,
    reason      text,
    changed_by  text        NOT NULL,
    changed_at  timestamptz NOT NULL
);
REVOKE ALL ON queue_guard FROM tidings_app;

-- Where the live database is; 'unknown' for what this server does not tell.
CREATE FUNCTION queue_identity(OUT system text, OUT database text, OUT timeline text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    SELECT d.oid::text INTO database FROM pg_database d WHERE d.datname = current_database();
    BEGIN
        SELECT c.system_identifier::text INTO system FROM pg_control_system() c;
    EXCEPTION WHEN OTHERS THEN
        system := 'unknown';
    END;
    BEGIN
        timeline := substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8);
    EXCEPTION WHEN OTHERS THEN
        timeline := 'unknown';
    END;
END
$$;

-- True when claiming is allowed: stamped, not fenced, and still the database of the stamp.
CREATE FUNCTION queue_open() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT coalesce(bool_or(NOT g.fenced
        AND (g.system = i.system OR 'unknown' IN (g.system, i.system))
        AND g.database = i.database
        AND (g.timeline = i.timeline OR g.on_timeline = 'follow' OR 'unknown' IN (g.timeline, i.timeline))), false)
    FROM public.queue_guard g, public.queue_identity() i
$$;
REVOKE EXECUTE ON FUNCTION queue_identity(), queue_open() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION queue_identity(), queue_open() TO tidings_worker;

-- Schedules -----------------------------------------------------------------------------------------------

-- What runs at times. The installation's own schedules belong to the nil tenant.
CREATE TABLE schedules (
    tenant_id       uuid        NOT NULL,
    name            text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    -- How the next moment is found; read by the engine's rules.
    cadence         jsonb       NOT NULL,
    missed_run      text        NOT NULL CHECK (missed_run IN ('run_late', 'skip_older_than')),
    max_lateness_ms bigint      CHECK (max_lateness_ms >= 0),
    next_at         timestamptz,
    enabled         boolean     NOT NULL DEFAULT true,
    changed_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, name),
    CHECK ((missed_run = 'skip_older_than') = (max_lateness_ms IS NOT NULL))
);
CREATE INDEX schedules_due ON schedules (next_at) WHERE enabled;
SELECT tidings_protect('schedules');

-- Every moment a schedule came due and what became of it: the primary key is what makes a run happen once.
CREATE TABLE schedule_occurrences (
    tenant_id     uuid        NOT NULL,
    name          text        NOT NULL,
    due_at        timestamptz NOT NULL,
    verdict       text        NOT NULL CHECK (verdict IN ('run', 'skipped', 'superseded')),
    node_id       uuid,
    decided_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, name, due_at)
);
SELECT tidings_protect('schedule_occurrences');

-- Rows of other programs ----------------------------------------------------------------------------------

-- Notes rows that were not inserted by the engine and wakes a worker, once a statement. The engine's own insert says
-- tidings.enqueue = 'on' for its transaction because it writes the run itself. Runs as the owner: whoever may insert a
-- job may announce it, and nothing else.
CREATE FUNCTION queue_note_arrivals() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
    INSERT INTO public.job_arrivals (job_id)
        SELECT a.id FROM arrived a WHERE a.status = 'pending'
        ON CONFLICT (job_id) DO UPDATE SET set_aside = false;
    IF FOUND THEN
        PERFORM pg_notify('tidings_jobs', '');
    END IF;
    RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION queue_note_arrivals() FROM PUBLIC;
CREATE TRIGGER queue_note_arrivals AFTER INSERT ON communication_jobs
    REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT WHEN (coalesce(current_setting('tidings.enqueue', true), '') <> 'on')
    EXECUTE FUNCTION queue_note_arrivals();
