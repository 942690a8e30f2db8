-- Columns that are read with their row and that nothing is searched by. The planner needs no statistics of them, and making
-- some fetches and decompresses every value of the sample. Ciphertext does not compress: trying to, on every insert, is for
-- nothing, so what is too long for its row is moved out as it is.
DO $$
DECLARE
    wide record;
BEGIN
    FOR wide IN
        SELECT c.oid::regclass AS "table", a.attname AS "column"
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND NOT a.attisdropped
            AND a.atttypid = 'bytea'::regtype AND (a.attname LIKE '%sealed' OR a.attname = 'wrapped')
        ORDER BY c.relname, a.attname
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STORAGE EXTERNAL, ALTER COLUMN %I SET STATISTICS 0',
            wide."table", wide."column", wide."column");
    END LOOP;
END
$$;
ALTER TABLE decisions
    ALTER COLUMN facts SET STATISTICS 0, ALTER COLUMN verdict SET STATISTICS 0, ALTER COLUMN reasons SET STATISTICS 0;
ALTER TABLE event_log ALTER COLUMN data SET STATISTICS 0;
ALTER TABLE idempotency_keys ALTER COLUMN response SET STATISTICS 0;
ALTER TABLE attempts ALTER COLUMN route SET STATISTICS 0;
ALTER TABLE delivery_events ALTER COLUMN detail SET STATISTICS 0;

-- What tables hold in their first minutes need not be known exactly: a tenth of the usual sample tells a key from a column
-- that is the same everywhere, at a tenth of the cost. Autovacuum looks more closely soon after.
ALTER FUNCTION refresh_statistics() SET default_statistics_target = 10;
