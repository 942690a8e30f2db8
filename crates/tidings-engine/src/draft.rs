//! From requests to drafts: checked, their contacts found, and what follows from their types.

use crate::accept::{Answers, Submission};
use crate::compose::StoredRequest;
use crate::error::EngineError;
use crate::recipients::{self, Inline};
use crate::request::{
    AcceptError, AcceptRequest, DirectContent, MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS, MAX_CONTEXT_BYTES,
    MAX_DIRECT_BYTES, MAX_SOURCE_REFERENCE, Recipient, Words,
};
use crate::templates::Shelf;
use crate::tenancy::TenantView;
use jiff::Timestamp;
use serde_json::json;
use std::collections::HashMap;
use tidings_core::{Category, Channel, ContactId, Dice, JobId, MessageId, MessageType, TenantId, Urgency};
use tidings_render::message_types;
use tidings_store::Conn;

/// The type of direct content without one.
pub(crate) const DIRECT_TYPE: &str = "direct";

/// A request on its way to becoming a message.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Which submission, and which request of it.
    pub place: (usize, usize),
    pub tenant: TenantId,
    pub message: MessageId,
    pub contact: ContactId,
    pub message_type: MessageType,
    pub category: Category,
    pub urgency: Urgency,
    pub channel: Option<Channel>,
    pub renderable: Vec<Channel>,
    pub send_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub source_reference: Option<String>,
    pub locale: Option<String>,
    pub request: StoredRequest,
    /// What is told of who found the words.
    pub words: Option<WordsTold>,
    /// The job of another program that carries the message instead of a new one.
    pub carrier: Option<JobId>,
}

/// What the event log keeps of who found the words.
#[derive(Clone, Debug)]
pub(crate) struct WordsTold {
    pub kind: &'static str,
    pub data: serde_json::Value,
}

impl WordsTold {
    fn of(words: &Words) -> Self {
        match words {
            Words::Model { model, tries, .. } => Self {
                kind: "ContentDrafted",
                data: json!({ "model": model, "tries": tries }),
            },
            Words::Template { reason, findings } => Self {
                kind: "DraftRefused",
                data: json!({ "reason": reason, "findings": findings }),
            },
        }
    }
}

/// Checks the requests and finds their contacts; those given with requests are handed out, to be brought in by the
/// transaction that decides, and their drafts say nobody until then.
pub(crate) async fn drafts(
    conn: &mut Conn,
    batch: Vec<Submission>,
    views: &HashMap<TenantId, TenantView>,
    shelf: &Shelf,
    answers: &mut Answers,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(Vec<Draft>, Vec<Inline>), EngineError> {
    let mut external = Vec::new();
    let mut checked: Vec<Checked> = Vec::new();
    for (outer, submission) in batch.into_iter().enumerate() {
        let (tenant, carrier) = (submission.tenant, submission.carrier);
        for (within, request) in submission.requests.into_iter().enumerate() {
            let place = (outer, within);
            if answers.is_set(place) {
                continue;
            }
            match check(
                views.get(&tenant),
                tenant,
                shelf,
                &request,
                now,
                carrier.is_some(),
            ) {
                Ok(shape) => {
                    if let Recipient::ExternalId(id) = &request.to {
                        external.push((tenant, id.clone()));
                    }
                    checked.push((place, tenant, shape, request, carrier));
                }
                Err(error) => answers.set(place, Err(error)),
            }
        }
    }
    let external = recipients::by_external_id(conn, external).await?;
    let mut inline = Vec::new();
    let mut drafts = Vec::with_capacity(checked.len());
    for (place, tenant, shape, mut request, carrier) in checked {
        let to = std::mem::replace(&mut request.to, Recipient::ContactId(NOBODY));
        let contact = match to {
            Recipient::ContactId(id) => id,
            Recipient::ExternalId(id) => {
                let Some(contact) = external.get(&(tenant, id.clone())) else {
                    let reference = format!("with external_id \"{id}\"");
                    answers.set(place, Err(AcceptError::UnknownContact { reference }));
                    continue;
                };
                *contact
            }
            Recipient::Contact(contact) => {
                inline.push(Inline {
                    place,
                    tenant,
                    contact,
                });
                NOBODY
            }
        };
        if let (None, Some(view)) = (request.expires_at, views.get(&tenant)) {
            let at = request.send_at.unwrap_or(now);
            request.expires_at = view.policy().time_limits.message_ends(at);
        }
        drafts.push(Draft {
            carrier,
            ..draft(place, tenant, contact, shape, request, dice, now)
        });
    }
    Ok((drafts, inline))
}

/// The contact of a draft whose contact is not brought in yet.
const NOBODY: ContactId = ContactId(uuid::Uuid::nil());

type Checked = ((usize, usize), TenantId, Shape, AcceptRequest, Option<JobId>);

/// What follows from the type.
struct Shape {
    message_type: MessageType,
    category: Category,
    urgency: Urgency,
    renderable: Vec<Channel>,
}

fn check(
    view: Option<&TenantView>,
    tenant: TenantId,
    shelf: &Shelf,
    request: &AcceptRequest,
    now: Timestamp,
    carried: bool,
) -> Result<Shape, AcceptError> {
    let view = view.ok_or(AcceptError::UnknownTenant)?;
    if !view.is_active() {
        return Err(AcceptError::TenantNotActive {
            status: view.tenant.status.to_string(),
        });
    }
    // A row that is taken up again finds its message, expired or not; the rules see to the rest.
    check_limits(request, if carried { Timestamp::MIN } else { now })?;
    recipients::check(&request.to, view.policy().default_region.as_deref())?;
    shape(tenant, shelf, request)
}

fn shape(tenant: TenantId, shelf: &Shelf, request: &AcceptRequest) -> Result<Shape, AcceptError> {
    let message_type = match (&request.message_type, &request.content) {
        (Some(message_type), _) => message_type.clone(),
        (None, Some(_)) => MessageType::parse(DIRECT_TYPE).map_err(|_| AcceptError::NothingToSend)?,
        (None, None) => return Err(AcceptError::NothingToSend),
    };
    let renderable = match request.content {
        Some(_) => Channel::ALL.to_vec(),
        None => shelf.channels(tenant, &message_type),
    };
    let missing = match request.channel {
        Some(channel) => !renderable.contains(&channel),
        None => renderable.is_empty(),
    };
    if missing {
        let message_type = message_type.to_string();
        return Err(AcceptError::UnknownTemplate {
            message_type,
            channel: request.channel,
        });
    }
    let info = message_types::message_type(message_type.as_str());
    Ok(Shape {
        category: request
            .category
            .or(info.map(|info| info.category))
            .unwrap_or(Category::Service),
        urgency: request
            .urgency
            .or(info.map(|info| info.urgency))
            .unwrap_or(Urgency::Normal),
        message_type,
        renderable,
    })
}

fn check_limits(request: &AcceptRequest, now: Timestamp) -> Result<(), AcceptError> {
    let too_large = |field: &str, limit: &str| AcceptError::TooLarge {
        field: field.to_owned(),
        limit: limit.to_owned(),
    };
    if let Some(expires_at) = request.expires_at.filter(|expires_at| *expires_at <= now) {
        return Err(AcceptError::Expired { expires_at });
    }
    if let (Some(send_at), Some(expires_at)) = (request.send_at, request.expires_at)
        && send_at >= expires_at
    {
        return Err(AcceptError::Expired { expires_at });
    }
    if json_bytes(request) > MAX_CONTEXT_BYTES {
        return Err(too_large("context", "256 KiB of JSON"));
    }
    if request.attachments.len() > MAX_ATTACHMENTS {
        return Err(too_large("attachments", "10 files"));
    }
    if request
        .attachments
        .iter()
        .map(|file| file.content_base64.len())
        .sum::<usize>()
        > MAX_ATTACHMENT_BYTES
    {
        return Err(too_large("attachments", "10 MiB of base64 together"));
    }
    if request
        .content
        .as_ref()
        .is_some_and(|content| content.body.expose().len() > MAX_DIRECT_BYTES)
    {
        return Err(too_large("content.body", "100 KiB"));
    }
    let file = request.content.as_ref().and_then(DirectContent::problem_of_file);
    if let Some(problem) = file {
        return Err(AcceptError::Invalid {
            field: "content.media".to_owned(),
            problem,
        });
    }
    let reference = request
        .source_reference
        .as_deref()
        .map(|text| text.chars().count());
    if reference.is_some_and(|length| length == 0 || length > MAX_SOURCE_REFERENCE) {
        let problem = "use 1 to 500 characters, or leave it out".to_owned();
        return Err(AcceptError::Invalid {
            field: "source_reference".to_owned(),
            problem,
        });
    }
    if request
        .locale
        .as_deref()
        .is_some_and(|locale| locale.len() < 2 || locale.len() > 35)
    {
        let problem = "use a language tag such as en or de-AT".to_owned();
        return Err(AcceptError::Invalid {
            field: "locale".to_owned(),
            problem,
        });
    }
    Ok(())
}

/// The size of the context as JSON, counted without building the text.
fn json_bytes(request: &AcceptRequest) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, request.context.expose()) {
        Ok(()) => counter.0,
        Err(_) => usize::MAX,
    }
}

fn draft(
    place: (usize, usize),
    tenant: TenantId,
    contact: ContactId,
    shape: Shape,
    request: AcceptRequest,
    dice: &mut Dice,
    now: Timestamp,
) -> Draft {
    let words = request.words.as_ref().map(WordsTold::of);
    Draft {
        place,
        tenant,
        message: MessageId(dice.uuid(now)),
        contact,
        message_type: shape.message_type,
        category: shape.category,
        urgency: shape.urgency,
        channel: request.channel,
        renderable: shape.renderable,
        send_at: request.send_at,
        expires_at: request.expires_at,
        source_reference: request.source_reference,
        locale: request.locale,
        request: StoredRequest {
            context: request.context,
            content: request.content,
            drafted_email: request.words.and_then(Words::into_email),
            attachments: request.attachments,
        },
        words,
        carrier: None,
    }
}
