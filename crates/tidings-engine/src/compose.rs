//! From a request to what goes out on a channel, and the sealed forms of both.

use crate::error::EngineError;
use crate::links::Unsubscriber;
use crate::request::{AcceptError, DirectContent};
use crate::templates::Shelf;
use crate::tenancy::TenantView;
use crate::whatsapp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_core::redact::Private;
use tidings_core::{Category, Channel, ContactId, MessageId, MessageType, TemplateId, TenantId};
use tidings_providers::{Attachment, Content, EmailContent};
use tidings_render::{Direct, RenderContext, RenderError, Rendered, RenderedWhatsapp, render_direct};
use tidings_store::messages::facts::ContactKnown;
use tidings_store::{ContactKey, Place, SealError};

/// The line between the text of an e-mail and its footer.
const FOOTER_MARK: &str = "\n--\n";

/// What of a request is needed again when a waiting message is rendered later. Kept sealed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoredRequest {
    /// The template's variables.
    pub context: Private<Map<String, Value>>,
    /// Instead of a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<DirectContent>,
    /// A model's words, instead of the template's in an e-mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drafted_email: Option<DirectContent>,
    /// Files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
}

impl StoredRequest {
    /// The text that is sent on a channel instead of the template's.
    fn direct(&self, channel: Channel) -> Option<&DirectContent> {
        let drafted = self.drafted_email.as_ref();
        self.content
            .as_ref()
            .or_else(|| drafted.filter(|_| channel == Channel::Email))
    }
}

/// One message to be rendered.
#[derive(Clone, Copy)]
pub(crate) struct Composition<'a> {
    pub view: &'a TenantView,
    pub shelf: &'a Shelf,
    pub known: &'a ContactKnown,
    pub contact: ContactId,
    pub message: MessageId,
    pub message_type: &'a MessageType,
    pub category: Category,
    pub locale: Option<&'a str>,
    pub request: &'a StoredRequest,
}

/// What goes out on a channel.
pub(crate) struct Composed {
    pub channel: Channel,
    pub content: Content,
    pub template: Option<TemplateId>,
}

impl Composition<'_> {
    /// Renders for one channel.
    pub fn render(&self, channel: Channel) -> Result<Composed, AcceptError> {
        let tracking = self.view.tenant.settings.tracking.of(self.message_type);
        let links = &self.view.links;
        let unsubscribe = self.unsubscribe_url(channel);
        let preferences = links.preferences(self.contact);
        let pixel = links.open_pixel(self.message);
        let track = |url: &str| links.click(self.message, url);
        let variables = Value::Object(self.request.context.expose().clone());
        let email = channel == Channel::Email;
        let context = RenderContext {
            variables: &variables,
            brand: &self.view.brand,
            category: self.category,
            zone: self.known.contact.zone.as_deref(),
            unsubscribe_url: unsubscribe.as_deref(),
            preference_url: Some(&preferences),
            track_link: if tracking.clicks && email {
                Some(&track)
            } else {
                None
            },
            open_pixel_url: (tracking.opens && email).then_some(pixel.as_str()),
        };
        let (rendered, template, bound) = self.render_with(channel, &context)?;
        let content = match (self.content(rendered, unsubscribe), bound) {
            (Content::Text { body }, Some(bound)) => {
                Content::WhatsappTemplate(whatsapp::content(bound, body))
            }
            (content, _) => content,
        };
        let content = match (
            content,
            self.request
                .direct(channel)
                .and_then(|direct| direct.media.as_ref()),
        ) {
            (Content::Text { body }, Some(file)) if channel == Channel::Whatsapp => {
                Content::Media(file.with_caption(body))
            }
            (content, _) => content,
        };
        Ok(Composed {
            channel,
            content,
            template,
        })
    }

    /// Subject and text of the e-mail as the template has them, without the footer and without any link of the contact:
    /// what a stranger may see.
    pub fn wording(&self) -> Result<(String, String), AcceptError> {
        let variables = Value::Object(self.request.context.expose().clone());
        let mut context = RenderContext::new(&variables, &self.view.brand, self.category);
        context.zone = self.known.contact.zone.as_deref();
        // Marketing is not rendered without one; it stands in the footer.
        let unsubscribe = format!("https://{}/", self.view.links.host());
        context.unsubscribe_url = Some(&unsubscribe);
        match self.render_with(Channel::Email, &context)?.0 {
            Rendered::Email { subject, text, .. } => {
                let words = text.rsplit_once(FOOTER_MARK).map_or(&*text, |(words, _)| words);
                Ok((subject, words.trim().to_owned()))
            }
            Rendered::Text { body } => Ok((String::new(), body)),
        }
    }

    fn render_with(
        &self,
        channel: Channel,
        context: &RenderContext<'_>,
    ) -> Result<(Rendered, Option<TemplateId>, Option<RenderedWhatsapp>), AcceptError> {
        if let Some(direct) = self.request.direct(channel) {
            let text = Direct {
                subject: direct.subject.as_ref().map(|subject| subject.expose().as_str()),
                body: direct.body.expose(),
            };
            let rendered = render_direct(&text, channel, context).map_err(refusal)?;
            return Ok((rendered, None, None));
        }
        let locale = locale(self.locale, self.known, self.view);
        let template = self
            .shelf
            .find(self.view.tenant.id, self.message_type, channel, locale)
            .ok_or_else(|| AcceptError::UnknownTemplate {
                message_type: self.message_type.to_string(),
                channel: Some(channel),
            })?;
        let compiled = template.compiled();
        let rendered = compiled.render(context).map_err(refusal)?;
        let bound = compiled.render_whatsapp(context).map_err(refusal)?;
        Ok((rendered, template.id(), bound))
    }

    /// What one may turn one's back on has a link for it: everything but transactional mail.
    fn unsubscribe_url(&self, channel: Channel) -> Option<String> {
        if self.category == Category::Transactional {
            return None;
        }
        let (_, index) = self.known.indexes.iter().find(|(of, _)| *of == channel)?;
        Some(self.view.links.unsubscribe(&Unsubscriber {
            contact: self.contact,
            message: self.message,
            channel,
            address: *index.as_bytes(),
        }))
    }

    fn content(&self, rendered: Rendered, unsubscribe: Option<String>) -> Content {
        match rendered {
            Rendered::Text { body } => Content::Text { body },
            Rendered::Email { subject, html, text } => Content::Email(EmailContent {
                subject,
                html,
                text,
                message_id_header: format!("{}@{}", self.message.0.simple(), self.view.links.host()),
                reply_to: None,
                unsubscribe_url: unsubscribe,
                in_reply_to: None,
                auto_submitted: true,
                attachments: self.request.attachments.clone(),
            }),
        }
    }
}

/// The locale a message is rendered in: the request's, the contact's, the tenant's.
pub(crate) fn locale<'a>(
    asked: Option<&'a str>,
    known: &'a ContactKnown,
    view: &'a TenantView,
) -> Option<&'a str> {
    asked
        .or(known.locale.as_deref())
        .or(view.tenant.settings.default_locale.as_deref())
}

/// A renderer's refusal as a caller reads it.
pub(crate) fn refusal(error: RenderError) -> AcceptError {
    match error {
        RenderError::MissingVariables { template, names } => {
            AcceptError::MissingVariables { template, names }
        }
        other => AcceptError::Content {
            problem: other.to_string(),
        },
    }
}

/// Where a part of a message is sealed.
const fn place(tenant: TenantId, message: MessageId, channel: Option<Channel>) -> Place {
    let part = match channel {
        None => "request",
        Some(channel) => channel.as_str(),
    };
    Place::new("message_contents", part, tenant, message.0)
}

/// Seals a request.
pub(crate) fn seal_request(
    key: &ContactKey,
    tenant: TenantId,
    message: MessageId,
    request: &StoredRequest,
) -> Result<Vec<u8>, EngineError> {
    let json = serde_json::to_vec(request).map_err(|error| unreadable("the request", message, &error))?;
    Ok(key.seal(&place(tenant, message, None), &json)?)
}

/// Opens a request.
pub(crate) fn open_request(
    key: &ContactKey,
    tenant: TenantId,
    message: MessageId,
    sealed: &[u8],
) -> Result<StoredRequest, EngineError> {
    let json = key.open(&place(tenant, message, None), sealed)?;
    serde_json::from_slice(&json).map_err(|error| unreadable("the request", message, &error))
}

/// Seals what goes out on a channel.
pub(crate) fn seal_content(
    key: &ContactKey,
    tenant: TenantId,
    message: MessageId,
    composed: &Composed,
) -> Result<Vec<u8>, EngineError> {
    let json =
        serde_json::to_vec(&composed.content).map_err(|error| unreadable("the content", message, &error))?;
    Ok(key.seal(&place(tenant, message, Some(composed.channel)), &json)?)
}

/// Opens what goes out on a channel.
pub(crate) fn open_content(
    key: &ContactKey,
    tenant: TenantId,
    message: MessageId,
    channel: Channel,
    sealed: &[u8],
) -> Result<Content, EngineError> {
    let json = key.open(&place(tenant, message, Some(channel)), sealed)?;
    serde_json::from_slice(&json).map_err(|error| unreadable("the content", message, &error))
}

fn unreadable(what: &'static str, message: MessageId, error: &serde_json::Error) -> EngineError {
    EngineError::Content {
        what,
        message,
        reason: format!("{:?}", error.classify()),
    }
}

/// Whether a sealing failure means that the contact was erased.
pub(crate) const fn is_erased(error: &SealError) -> bool {
    matches!(error, SealError::Erased(_))
}
