-- Jobs of a dead worker are parked in groups that get smaller with every crash, and taken from there: a lease of the nil
-- node is parked, nobody works on it. One job by itself is `alone`: it is worked on with nothing else beside it in its
-- process, so a crash meanwhile is its own.
ALTER TABLE job_leases ADD COLUMN alone boolean NOT NULL DEFAULT false;

COMMENT ON COLUMN communication_jobs.crash_count IS
    'Once its worker died while it had the job in company: 1. And one for each time it died with nothing but this job at work.';
