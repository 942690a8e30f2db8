-- Alerts: the end of a long one is told, refusals are found however busy a tenant is, counting what waits has a bound.

-- Since when the present word is to be told; patience counts from here, not from when the alert began. The default is for
-- the version before, which does not know the column.
ALTER TABLE alert_notifications ADD COLUMN due_at timestamptz NOT NULL DEFAULT now();
-- What was given up, for when a tenant changes its settings.
CREATE INDEX alert_notifications_failed ON alert_notifications (tenant_id) WHERE state = 'failed';

-- The last refusal of a connection's credentials, behind any number of other calls. No key of it ever changes, and a call
-- that is taken has no category before or after, so it still writes in place.
CREATE INDEX attempts_refused ON attempts (tenant_id, connection_id, intended_at) WHERE category = 'auth_failure';

-- Outcomes that wait for a person, among any number that are only unknown.
CREATE INDEX unknown_deliveries_held ON unknown_deliveries (tenant_id) WHERE held;
