//! Preview of templates, and the built-in ones.

use super::templates::{TemplateDraft, compile_kept, template_problem};
use crate::ApiState;
use crate::auth::Caller;
use crate::check::Checks;
use crate::extract::Json;
use crate::page::Page;
use crate::problem::{Answer, Problem};
use crate::words::{CategoryWord, ChannelWord, UrgencyWord};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_core::{Category, Channel, MessageType, TemplateId, Urgency, sms};
use tidings_engine::TemplatePreview;
use tidings_engine::render::{self, CompiledTemplate, Rendered};
use tidings_engine::store::templates;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(preview_template))
        .routes(routes!(list_built_in))
}

/// Preview a template
///
/// With the context given, or with the type's sample values. Nothing is sent; links are not tracked.
#[utoipa::path(post, path = "/v1/templates/preview", tag = "templates", request_body = PreviewRequest,
    responses((status = 200, description = "The preview", body = PreviewView)),
    security(("api_key" = ["templates:read"])))]
async fn preview_template(
    caller: Caller,
    State(state): State<ApiState>,
    Json(input): Json<PreviewRequest>,
) -> Answer<Json<PreviewView>> {
    let template = input.template(&caller, &state).await?;
    let variables = input.variables(template.message_type().as_str());
    let preview = state
        .engine()
        .preview(caller.tenant, &template, &variables, input.category)
        .await?;
    Ok(Json(PreviewView::of(preview)))
}

/// List built-in templates
///
/// What is used where the tenant has published none, with the variables of each type and sample values.
#[utoipa::path(get, path = "/v1/templates/built-in", tag = "templates",
    responses((status = 200, description = "All of them", body = Page<BuiltInView>)),
    security(("api_key" = ["templates:read"])))]
async fn list_built_in(_caller: Caller) -> Json<Page<BuiltInView>> {
    let all = render::builtins().iter().map(|builtin| {
        let (info, source) = (builtin.info(), builtin.source());
        let variable = |variable: &render::message_types::Variable| VariableView {
            name: variable.name.to_owned(),
            required: variable.required,
            meaning: variable.meaning.to_owned(),
        };
        BuiltInView {
            message_type: builtin.message_type().to_owned(),
            channel: builtin.channel(),
            purpose: info.purpose.to_owned(),
            category: info.category,
            urgency: info.urgency,
            subject: source.subject,
            body: source.body,
            variables: info.variables.iter().map(variable).collect(),
            sample: render::sample::sample(builtin.message_type()).unwrap_or_default(),
        }
    });
    Json(Page {
        items: all.collect(),
        next_cursor: None,
    })
}

/// A built-in template.
#[derive(Serialize, ToSchema)]
pub struct BuiltInView {
    /// The message type.
    pub message_type: String,
    /// The channel.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// What the type is for.
    pub purpose: String,
    /// The type's category.
    #[schema(value_type = CategoryWord)]
    pub category: Category,
    /// The type's urgency.
    #[schema(value_type = UrgencyWord)]
    pub urgency: Urgency,
    /// Subject line.
    pub subject: Option<String>,
    /// The body.
    pub body: String,
    /// What the type's templates may use.
    pub variables: Vec<VariableView>,
    /// Sample values.
    #[schema(value_type = Object)]
    pub sample: Value,
}

/// A variable of a message type.
#[derive(Serialize, ToSchema)]
pub struct VariableView {
    /// Its name.
    pub name: String,
    /// Whether messages without it are refused.
    pub required: bool,
    /// What it means.
    pub meaning: String,
}

/// What to preview: a kept version by `template_id`, a published or built-in one by `message_type` and `channel`, or a `draft` that is
/// not kept yet. Exactly one of the three.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"message_type": "welcome", "channel": "email", "context": {"first_name": "Ann"}}))]
pub struct PreviewRequest {
    /// A kept version.
    pub template_id: Option<Uuid>,
    /// The message type of the published template.
    #[schema(value_type = Option<String>)]
    pub message_type: Option<MessageType>,
    /// Its channel.
    #[schema(value_type = Option<ChannelWord>)]
    pub channel: Option<Channel>,
    /// Its locale; `en` when left out.
    pub locale: Option<String>,
    /// Content that is not kept.
    pub draft: Option<TemplateDraft>,
    /// Values for the variables; the type's sample values when left out.
    #[schema(value_type = Option<Object>)]
    pub context: Option<Map<String, Value>>,
    /// Category, for the footer of marketing mail.
    #[schema(value_type = Option<CategoryWord>)]
    pub category: Option<Category>,
}

impl PreviewRequest {
    async fn template(&self, caller: &Caller, state: &ApiState) -> Answer<CompiledTemplate> {
        match (self.template_id, &self.message_type, &self.draft) {
            (Some(id), None, None) => {
                let mut tx = state.tenant(caller).tx().await?;
                let kept = templates::get(&mut tx, TemplateId(id)).await?;
                compile_kept(&kept)
            }
            (None, None, Some(draft)) => {
                draft.check()?;
                draft
                    .compile()
                    .map_err(|error| template_problem(&error, "/draft"))
            }
            (None, Some(message_type), None) => self.published(message_type, caller, state).await,
            _ => Err(Problem::invalid_field(
                "",
                "field.choice",
                "give exactly one of template_id, message_type and draft",
            )),
        }
    }

    async fn published(
        &self,
        message_type: &MessageType,
        caller: &Caller,
        state: &ApiState,
    ) -> Answer<CompiledTemplate> {
        let channel = self.channel.unwrap_or(Channel::Email);
        let mut checks = Checks::default();
        checks.locale("/locale", self.locale.as_deref());
        checks.finish()?;
        let locales = templates::locale_chain(self.locale.as_deref(), None);
        let mut tx = state.tenant(caller).tx().await?;
        if let Some(kept) = templates::published(&mut tx, message_type, channel, &locales).await? {
            return compile_kept(&kept);
        }
        let Some(builtin) = render::builtin(message_type.as_str(), channel) else {
            let detail =
                format!("there is no template for {message_type} on {channel}; keep and publish one");
            return Err(Problem::invalid_field(
                "/message_type",
                "template.unknown",
                detail,
            ));
        };
        render::compile(&builtin.source()).map_err(|error| template_problem(&error, ""))
    }

    fn variables(&self, message_type: &str) -> Value {
        match &self.context {
            Some(context) => Value::Object(context.clone()),
            None => render::sample::sample(message_type).unwrap_or_else(|| Value::Object(Map::new())),
        }
    }
}

impl PreviewView {
    fn of(preview: TemplatePreview) -> Self {
        let mut view = Self {
            subject: None,
            html: None,
            text: None,
            segments: None,
            whatsapp: preview.whatsapp.map(|template| template.describe()),
            variables: preview.variables,
            missing: preview.missing,
        };
        match preview.rendered {
            None => {}
            Some(Rendered::Email { subject, html, text }) => {
                view.subject = Some(subject);
                view.html = html;
                view.text = Some(text);
            }
            Some(Rendered::Text { body }) => {
                let cut = sms::segment(&body);
                view.segments = Some(SegmentsView {
                    encoding: cut.encoding.as_str().to_owned(),
                    count: u32::try_from(cut.segments).unwrap_or(u32::MAX),
                    units: u32::try_from(cut.units).unwrap_or(u32::MAX),
                });
                view.text = Some(body);
            }
        }
        view
    }
}

/// A preview.
#[derive(Serialize, ToSchema)]
pub struct PreviewView {
    /// Subject line.
    pub subject: Option<String>,
    /// HTML part.
    pub html: Option<String>,
    /// Text part, or the text of a short channel.
    pub text: Option<String>,
    /// The template approved at Meta with its values, as it goes outside the 24 h service window.
    pub whatsapp: Option<String>,
    /// SMS segments.
    pub segments: Option<SegmentsView>,
    /// Variables the template asks for.
    pub variables: Vec<String>,
    /// Of these, the ones the context lacks; nothing is rendered while there are any.
    pub missing: Vec<String>,
}

/// How an SMS is cut.
#[derive(Serialize, ToSchema)]
pub struct SegmentsView {
    /// `gsm7` or `ucs2`.
    pub encoding: String,
    /// How many segments are sent and paid for.
    pub count: u32,
    /// Characters in the encoding's own units.
    pub units: u32,
}
