//! Why: everything that is known about a message, and what the rules would say to one that was never sent.

use crate::accept::facts_of;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::recipients;
use crate::request::{AcceptError, AcceptRequest, Recipient};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use tidings_core::decide::facts::RequestFacts;
use tidings_core::decide::{Decision, decide};
use tidings_core::event::{BounceClass, DeliveryEventKind};
use tidings_core::route::{PassedOver, RouteCode};
use tidings_core::{
    AttemptOutcome, BatchId, Category, Channel, ConnectionId, ContactId, DecisionStage, DeliveryId,
    DeliveryState, ErrorCategory, JobId, MessageId, MessageStatus, MessageType, NodeId, Provenance, TenantId,
    Urgency, WaitsFor,
};
use tidings_render::message_types;
use tidings_store::connections;
use tidings_store::messages::facts::{self, FactsQuery};
use tidings_store::messages::read::{self, MessageStory};

/// Everything that happened to a message, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The message.
    pub message_id: MessageId,
    /// To whom.
    pub contact_id: ContactId,
    /// Its type.
    pub message_type: MessageType,
    /// Its category.
    pub category: Category,
    /// Its urgency.
    pub urgency: Urgency,
    /// Where it stands.
    pub status: MessageStatus,
    /// How that became known.
    pub provenance: Provenance,
    /// Why it waits, while pending.
    pub waits_for: Option<WaitsFor>,
    /// When the rules look at it again.
    pub decide_again_at: Option<Timestamp>,
    /// Why it ended without being sent.
    pub ended_because: Option<String>,
    /// The batch it went in.
    pub batch_id: Option<BatchId>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When a provider took it.
    pub sent_at: Option<Timestamp>,
    /// Decisions, oldest first, each with every rule's reason.
    pub decisions: Vec<DecisionTold>,
    /// Deliveries, in the order of the chain.
    pub deliveries: Vec<DeliveryTold>,
    /// What was reported afterwards.
    pub events: Vec<EventTold>,
}

/// A recorded decision.
#[derive(Clone, Debug, Serialize)]
pub struct DecisionTold {
    /// At which point of the path.
    pub stage: DecisionStage,
    /// When.
    pub decided_at: Timestamp,
    /// What the rules said.
    pub verdict: Value,
    /// Why, one entry a rule.
    pub reasons: Value,
    /// What they looked at.
    pub facts: Value,
    /// When asking again could give another answer.
    pub changes_at: Option<Timestamp>,
}

/// A delivery with its attempts.
#[derive(Clone, Debug, Serialize)]
pub struct DeliveryTold {
    /// Its id.
    pub id: DeliveryId,
    /// Its channel.
    pub channel: Channel,
    /// Where it stands.
    pub state: DeliveryState,
    /// The job that carries it.
    pub job_id: Option<JobId>,
    /// The provider's id of the message.
    pub provider_message_id: Option<String>,
    /// When an unknown outcome is asked about.
    pub resolve_after: Option<Timestamp>,
    /// What was last said.
    pub last_error: Option<String>,
    /// While its job waits: until when.
    pub waits_until: Option<Timestamp>,
    /// While its job waits: why.
    pub waits_because: Option<String>,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptTold>,
}

/// An attempt.
#[derive(Clone, Debug, Serialize)]
pub struct AttemptTold {
    /// Its number, from 1.
    pub attempt_no: i32,
    /// Over which connection.
    pub connection_id: ConnectionId,
    /// What that is called; none once it is gone.
    pub connection: Option<String>,
    /// Why it went there.
    pub route: RouteTold,
    /// What is known.
    pub outcome: AttemptOutcome,
    /// Why it failed.
    pub category: Option<ErrorCategory>,
    /// The provider's code.
    pub code: Option<String>,
    /// What it said.
    pub detail: Option<String>,
    /// When it began.
    pub intended_at: Timestamp,
    /// When its outcome was known.
    pub finished_at: Option<Timestamp>,
    /// On which node.
    pub node: NodeId,
}

/// Why a call went over a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteTold {
    /// Why this one. None: it was the best there was.
    pub why: Option<RouteCode>,
    /// Which of the same or a better priority were passed over.
    pub passed_over: Vec<PassedOverTold>,
}

/// A connection that was passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassedOverTold {
    /// Which one.
    pub connection_id: ConnectionId,
    /// What it is called; none once it is gone.
    pub connection: Option<String>,
    /// Why.
    pub code: RouteCode,
    /// Until when, where that was known.
    pub until: Option<Timestamp>,
}

impl RouteTold {
    fn of(kept: Option<&Value>, names: &HashMap<ConnectionId, String>) -> Self {
        let part = |name: &str| kept.and_then(|kept| kept.get(name)).cloned().unwrap_or_default();
        let passed: Vec<PassedOver> = serde_json::from_value(part("passed_over")).unwrap_or_default();
        Self {
            why: serde_json::from_value(part("why")).ok(),
            passed_over: passed
                .into_iter()
                .map(|one| PassedOverTold {
                    connection_id: one.connection,
                    connection: names.get(&one.connection).cloned(),
                    code: one.code,
                    until: one.until,
                })
                .collect(),
        }
    }
}

/// A delivery event.
#[derive(Clone, Debug, Serialize)]
pub struct EventTold {
    /// About which delivery.
    pub delivery_id: Option<DeliveryId>,
    /// What happened.
    pub kind: DeliveryEventKind,
    /// How it became known.
    pub provenance: Provenance,
    /// For bounces.
    pub bounce_class: Option<BounceClass>,
    /// The provider's code.
    pub code: Option<String>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it came in.
    pub received_at: Timestamp,
}

/// What the rules would say to a request; nothing is stored.
#[derive(Clone, Debug, Serialize)]
pub struct DryRun {
    /// The contact it would go to.
    pub contact_id: ContactId,
    /// The decision, with every rule's reason.
    pub decision: Decision,
    /// As of when.
    pub at: Timestamp,
}

impl Engine {
    /// Everything that happened to a message, and why.
    ///
    /// # Errors
    /// When the tenant has no such message.
    pub async fn explain(&self, tenant: TenantId, message: MessageId) -> Result<Explanation, EngineError> {
        let mut tx = self.inner.store.tenant(tenant).tx().await?;
        let story = read::story(&mut tx, tenant, message).await?;
        let names = match &story {
            Some(story) if story.attempts.iter().any(|attempt| attempt.route.is_some()) => {
                connections::names(&mut tx).await?
            }
            _ => HashMap::new(),
        };
        tx.commit().await?;
        story
            .map(|story| told(story, &names))
            .ok_or_else(|| EngineError::NotFound {
                what: "message",
                id: message.to_string(),
            })
    }

    /// Decides about a request as of an instant without accepting it. The contact must exist.
    ///
    /// # Errors
    /// What would be refused is refused here in the same words.
    pub async fn dry_run(
        &self,
        tenant: TenantId,
        request: &AcceptRequest,
        at: Timestamp,
    ) -> Result<DryRun, AcceptError> {
        let unavailable = |error: EngineError| AcceptError::Unavailable {
            reason: error.to_string(),
        };
        let inner = &self.inner;
        let mut conn = inner.conn().await.map_err(unavailable)?;
        let views = crate::tenancy::load(inner, &mut conn, [tenant])
            .await
            .map_err(unavailable)?;
        let view = views.get(&tenant).ok_or(AcceptError::UnknownTenant)?;
        recipients::check(&request.to, view.policy().default_region.as_deref())?;
        let message_type = match (&request.message_type, &request.content) {
            (Some(message_type), _) => message_type.clone(),
            (None, Some(_)) => MessageType::parse("direct").map_err(|_| AcceptError::NothingToSend)?,
            (None, None) => return Err(AcceptError::NothingToSend),
        };
        let shelf = inner
            .templates
            .load(&mut conn, [(tenant, message_type.clone())])
            .await
            .map_err(unavailable)?;
        let contact = self.dry_contact(&mut conn, tenant, &request.to).await?;
        let renderable = match request.content {
            Some(_) => Channel::ALL.to_vec(),
            None => shelf.channels(tenant, &message_type),
        };
        let info = message_types::message_type(message_type.as_str());
        let query = FactsQuery {
            tenant,
            contact,
            message: MessageId(uuid::Uuid::nil()),
            message_type: message_type.clone(),
            source_reference: request.source_reference.clone(),
        };
        let loaded = facts::load(&mut conn, &[query], at)
            .await
            .map_err(|error| unavailable(error.into()))?;
        let known = loaded
            .into_iter()
            .next()
            .flatten()
            .ok_or_else(|| AcceptError::UnknownContact {
                reference: contact.to_string(),
            })?;
        let locale = crate::compose::locale(request.locale.as_deref(), &known, view);
        let whatsapp_template =
            request.content.is_none() && shelf.has_whatsapp_template(tenant, &message_type, locale);
        let asked = RequestFacts {
            category: request
                .category
                .or(info.map(|info| info.category))
                .unwrap_or(Category::Service),
            urgency: request
                .urgency
                .or(info.map(|info| info.urgency))
                .unwrap_or(Urgency::Normal),
            message_type,
            channel: request.channel,
            renderable_channels: renderable,
            send_at: request.send_at,
            expires_at: request.expires_at,
            duplicate_of: known.duplicate_of,
            approved: false,
            batched: false,
            bump_up: false,
            whatsapp_template,
        };
        let facts = facts_of(&known, asked, view.connected());
        Ok(DryRun {
            contact_id: contact,
            decision: decide(&facts, view.policy(), at),
            at,
        })
    }

    async fn dry_contact(
        &self,
        conn: &mut tidings_store::Conn,
        tenant: TenantId,
        to: &Recipient,
    ) -> Result<ContactId, AcceptError> {
        let external = match to {
            Recipient::ContactId(id) => return Ok(*id),
            Recipient::ExternalId(id) => Some(id.clone()),
            Recipient::Contact(contact) => contact.external_id.clone(),
        };
        let unknown = || AcceptError::UnknownContact {
            reference: "as given; a dry run creates none".to_owned(),
        };
        let id = external.ok_or_else(unknown)?;
        let found = recipients::by_external_id(conn, vec![(tenant, id.clone())])
            .await
            .map_err(|error| AcceptError::Unavailable {
                reason: error.to_string(),
            })?;
        found.get(&(tenant, id)).copied().ok_or_else(unknown)
    }
}

fn told(story: MessageStory, names: &HashMap<ConnectionId, String>) -> Explanation {
    let MessageStory {
        message,
        decisions,
        deliveries,
        attempts,
        events,
    } = story;
    let deliveries = deliveries
        .into_iter()
        .map(|row| DeliveryTold {
            attempts: attempts
                .iter()
                .filter(|attempt| attempt.delivery == row.id)
                .map(|attempt| AttemptTold {
                    attempt_no: attempt.attempt_no,
                    connection_id: attempt.connection,
                    connection: attempt.connection_name.clone(),
                    route: RouteTold::of(attempt.route.as_ref(), names),
                    outcome: attempt.outcome,
                    category: attempt.category,
                    code: attempt.code.clone(),
                    detail: attempt.detail.clone(),
                    intended_at: attempt.intended_at,
                    finished_at: attempt.finished_at,
                    node: attempt.node,
                })
                .collect(),
            id: row.id,
            channel: row.channel,
            state: row.state,
            job_id: row.job,
            provider_message_id: row.provider_message_id,
            // A queued delivery has one too: the end of the time in which its call may be repeated.
            resolve_after: row.resolve_after.filter(|_| row.state == DeliveryState::Unknown),
            last_error: row.last_error,
            waits_until: row.waits.as_ref().map(|(until, _)| *until),
            waits_because: row.waits.map(|(_, why)| why),
        })
        .collect();
    Explanation {
        message_id: message.id,
        contact_id: message.contact,
        message_type: message.message_type,
        category: message.category,
        urgency: message.urgency,
        status: message.status,
        provenance: message.provenance,
        waits_for: message.waits_for,
        decide_again_at: message.decide_again_at,
        ended_because: message.ended_because,
        batch_id: message.batch,
        accepted_at: message.accepted_at,
        sent_at: message.sent_at,
        decisions: decisions
            .into_iter()
            .map(|row| DecisionTold {
                stage: row.stage,
                decided_at: row.decided_at,
                verdict: row.verdict,
                reasons: row.reasons,
                facts: row.facts,
                changes_at: row.changes_at,
            })
            .collect(),
        deliveries,
        events: events
            .into_iter()
            .map(|row| EventTold {
                delivery_id: row.delivery,
                kind: row.kind,
                provenance: row.provenance,
                bounce_class: row.bounce_class,
                code: row.code,
                occurred_at: row.occurred_at,
                received_at: row.received_at,
            })
            .collect(),
    }
}
