-- Has the planner's statistics made again for tables that have at least doubled since they were made, and says for which.
-- A new database has none until autovacuum comes by, which may be a minute, and without them every index that begins with the
-- tenant looks as good as the one that holds the whole key. Analysing is the owner's right, so it runs as the owner; the
-- queue's own tables turn over too quickly for statistics to hold and do without. One session at a time: the others go on.
CREATE FUNCTION refresh_statistics() RETURNS text[]
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    grown regclass;
    done text[] := '{}';
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('tidings.refresh_statistics', 0)) THEN
        RETURN done;
    END IF;
    FOR grown IN
        SELECT c.oid FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
            AND c.relname <> 'communication_jobs' AND c.relname NOT LIKE 'job\_%' AND c.relname NOT LIKE 'queue\_%'
            AND pg_relation_size(c.oid) / current_setting('block_size')::bigint >= 2 * greatest(c.relpages, 1)
        ORDER BY c.oid
    LOOP
        EXECUTE format('ANALYZE %s', grown);
        done := done || grown::text;
    END LOOP;
    RETURN done;
END
$$;
REVOKE EXECUTE ON FUNCTION refresh_statistics() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION refresh_statistics() TO tidings_worker;
