//! What each figure means, as `/metrics` says it.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Says on `/metrics` what each figure means.
pub fn describe() {
    describe_counter!(
        "crm_communications_total",
        "Communications by message type, channel and status: sent (a provider took it), delivered, opened, clicked, \
         bounced, failed, suppressed (channel none where none was chosen)"
    );
    describe_histogram!(
        "crm_delivery_time_seconds",
        Unit::Seconds,
        "From the moment a provider took a message to the moment it reports it as delivered"
    );
    describe_gauge!(
        "crm_open_rate",
        "Share of mail that a person opened (0 to 1), of the newest mail of the last seven days, without mail whose \
         opens are not tracked"
    );
    describe_gauge!(
        "tidings_open_rate_mails",
        "How much mail crm_open_rate is of; a rate of little mail says little"
    );
    describe_counter!(
        "crm_api_errors_total",
        "Calls to providers that were refused or had no answer, by provider (api) and category (error_type); api none: no \
         connection could be used, nobody was called"
    );
    describe_counter!(
        "tidings_provider_calls_total",
        "Calls to providers, whatever came of them, by provider (api)"
    );
    describe_histogram!(
        "tidings_time_to_send_seconds",
        Unit::Seconds,
        "From the acceptance of a request to the moment a provider took it"
    );
    describe_counter!(
        "tidings_bounces_total",
        "Bounces by connection and class: hard (the address), soft (adds up), block (our reputation or content)"
    );
    describe_counter!(
        "tidings_mail_total",
        "Mail that came back, by kind and outcome: stored, known (again), applied, joined, unjoined, ignored, unproved, \
         stranger (about somebody the message did not go to), unreadable, unknown_recipient"
    );
    describe_gauge!("tidings_queue_jobs", "Jobs by type and state");
    describe_gauge!(
        "tidings_connections",
        "Enabled connections by provider and state of their breaker (closed, open, half_open)"
    );
    describe_gauge!(
        "tidings_connection_state",
        "The breaker of a connection: 0 closed, 1 half open, 2 open; only while there are few connections"
    );
    describe_gauge!(
        "tidings_connection_health",
        "The health score of a connection, 0 to 100, of the last five minutes; only while there are few connections"
    );
    describe_gauge!(
        "tidings_queue_oldest_age_seconds",
        Unit::Seconds,
        "How long the oldest due job has been waiting"
    );
    describe_gauge!("tidings_alerts_open", "Open alerts by severity");
    describe_counter!("tidings_alerts_raised_total", "Alerts opened, by rule");
    describe_counter!(
        "tidings_alert_notifications_total",
        "Calls to notifiers, by notifier and outcome: told, refused (tried again), failed (given up), unknown (no answer)"
    );
    describe_parts();
}

/// Says what the figures of single parts of the engine mean.
fn describe_parts() {
    describe_counter!(
        "tidings_unknown_outcomes_total",
        "Calls whose outcome nobody knows, by channel; lost: the worker died in its call"
    );
    describe_counter!(
        "tidings_delivery_events_total",
        "Reports of providers that were applied, by kind and channel"
    );
    describe_counter!(
        "tidings_inbound_messages_total",
        "Messages from contacts, by channel"
    );
    describe_counter!(
        "tidings_unsubscribes_total",
        "Contacts who unsubscribed by a link, by channel"
    );
    describe_counter!(
        "tidings_fallbacks_total",
        "Messages that went on to the next channel of their plan, by channel before and after"
    );
    describe_counter!(
        "tidings_breakers_opened_total",
        "Breakers of connections that opened, by cause"
    );
    describe_counter!(
        "tidings_rescued_jobs_total",
        "Jobs taken over from workers that died"
    );
    describe_counter!(
        "tidings_batches_failed_total",
        "Batches of jobs that failed as a whole and were put back"
    );
    describe_counter!(
        "tidings_dead_letters_replayed_total",
        "Dead letters that were queued again"
    );
    describe_counter!(
        "tidings_messages_accepted_total",
        "Requests that were accepted, by message type and what was decided"
    );
    describe_histogram!(
        "tidings_accept_batch_size",
        "Requests that were accepted in one commit"
    );
    describe_histogram!(
        "tidings_outcome_batch_size",
        "Outcomes of calls that were recorded in one commit"
    );
    describe_histogram!(
        "tidings_webhook_batch_size",
        "Webhooks that were stored in one commit"
    );
    describe_counter!("tidings_contacts_erased_total", "Contacts that were erased");
    describe_counter!(
        "tidings_webhooks_total",
        "Webhooks of providers, by provider and outcome"
    );
    describe_counter!(
        "tidings_campaign_runs_total",
        "Runs of campaigns, by how they ended"
    );
    describe_counter!(
        "tidings_drafts_total",
        "Drafts of a language model, by result: drafted, or why the template was taken"
    );
    describe_counter!(
        "tidings_limit_store_changes_total",
        "Changes of who keeps the buckets of rate limits, by who does then: redis, postgres"
    );
    describe_counter!(
        "tidings_late_retries_total",
        "Texts that failed for a while after they were taken and were queued again, by channel"
    );
    describe_counter!(
        "tidings_reports_asked_total",
        "Questions to providers what became of a message whose last report never came, by provider (api) and outcome: found, \
         nothing (it is on its way), not_known, unanswered"
    );
    describe_counter!(
        "tidings_listed_suppressions_total",
        "Entries read of the providers' own lists of addresses they do not write to, by provider (api) and outcome: new, \
         known, malformed"
    );
    describe_counter!(
        "tidings_limits_shrunk_total",
        "Refusals for their rate that shrank a limit on every node"
    );
    describe_counter!(
        "tidings_limit_slots_expired_total",
        "Slots of rate limits that were taken and not used in time"
    );
}
