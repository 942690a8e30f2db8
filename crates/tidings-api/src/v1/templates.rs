//! Templates: versioned content, drafts, publishing, preview.

use super::whatsapp_templates::{WhatsappReviewView, WhatsappTemplateBody};
use crate::ApiState;
use crate::auth::Caller;
use crate::check::Checks;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, bounds};
use crate::problem::{Answer, FieldError, Problem};
use crate::words::{BodyFormatWord, ChannelWord, TemplateStateWord};
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidings_core::{Channel, MessageType, TemplateId};
use tidings_engine::render::{
    self, CompiledTemplate, Format, Part, TemplateError, TemplateSource, WhatsappBinding,
};
use tidings_engine::store::templates::{
    self, BodyFormat, Template, TemplateContent, TemplateFilter, TemplateKey, TemplateState,
};
use tidings_engine::store::whatsapp::templates::{self as reviews, Review};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_templates, save_draft))
        .routes(routes!(get_template))
        .routes(routes!(publish_template))
        .routes(routes!(archive_template))
}

/// List templates
///
/// Every version, newest first. Built-in ones stand under `/v1/templates/built-in`.
#[utoipa::path(get, path = "/v1/templates", tag = "templates", params(TemplateQuery),
    responses((status = 200, description = "A page", body = Page<TemplateView>)),
    security(("api_key" = ["templates:read"])))]
async fn list_templates(
    caller: Caller,
    State(state): State<ApiState>,
    Query(query): Query<TemplateQuery>,
) -> Answer<Json<Page<TemplateView>>> {
    let bounds = bounds::<Uuid>(query.limit, query.cursor.as_deref())?;
    let filter = TemplateFilter {
        message_type: query.message_type,
        channel: query.channel,
        locale: query.locale,
        state: query.state,
    };
    let mut tx = state.tenant(&caller).tx().await?;
    let rows = templates::list(&mut tx, &filter, bounds.after.map(TemplateId), bounds.limit).await?;
    let names: Vec<String> = rows
        .items
        .iter()
        .filter_map(bound)
        .map(|bound| bound.name)
        .collect();
    let reviews = reviews::standings(&mut tx, &names).await?;
    let view = |template| TemplateView::reviewed(template, &reviews);
    Ok(Json(Page::of(rows.items, rows.next.map(|id| id.0)).map(view)))
}

/// Keep a draft
///
/// It is compiled first: a mistake is answered with its part and line, and nothing is kept.
#[utoipa::path(post, path = "/v1/templates", tag = "templates", request_body = TemplateDraft,
    responses((status = 201, description = "Kept", body = TemplateView)),
    security(("api_key" = ["templates:write"])))]
async fn save_draft(
    caller: Caller,
    State(state): State<ApiState>,
    Json(input): Json<TemplateDraft>,
) -> Answer<(StatusCode, Json<TemplateView>)> {
    input.check()?;
    input.compile().map_err(|error| template_problem(&error, ""))?;
    let (key, content) = input.kept();
    let mut tx = state.tenant(&caller).tx().await?;
    let draft = templates::save_draft(&mut tx, &key, &content, &mut state.dice(), state.now()).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(draft.into())))
}

/// Read a template version
#[utoipa::path(get, path = "/v1/templates/{template_id}", tag = "templates",
    params(("template_id" = Uuid, Path, description = "The version")),
    responses((status = 200, description = "The version", body = TemplateView)),
    security(("api_key" = ["templates:read"])))]
async fn get_template(
    caller: Caller,
    State(state): State<ApiState>,
    Path(template): Path<Uuid>,
) -> Answer<Json<TemplateView>> {
    let mut tx = state.tenant(&caller).tx().await?;
    let template = templates::get(&mut tx, TemplateId(template)).await?;
    let names: Vec<String> = bound(&template).map(|bound| bound.name).into_iter().collect();
    let reviews = reviews::standings(&mut tx, &names).await?;
    Ok(Json(TemplateView::reviewed(template, &reviews)))
}

/// Publish a template version
///
/// Messages accepted from now on are rendered from it; the version before is archived.
#[utoipa::path(post, path = "/v1/templates/{template_id}/publish", tag = "templates",
    params(("template_id" = Uuid, Path, description = "The version")),
    responses((status = 200, description = "Published", body = TemplateView)),
    security(("api_key" = ["templates:write"])))]
async fn publish_template(
    caller: Caller,
    State(state): State<ApiState>,
    Path(template): Path<Uuid>,
) -> Answer<Json<TemplateView>> {
    let mut tx = state.tenant(&caller).tx().await?;
    let kept = templates::get(&mut tx, TemplateId(template)).await?;
    compile_kept(&kept)?;
    let published = templates::publish(&mut tx, TemplateId(template), state.now()).await?;
    state
        .audit(&mut tx, &caller, "template.published", template.to_string())
        .await?;
    tx.commit().await?;
    Ok(Json(published.into()))
}

/// Archive a template version
///
/// A published one is no longer used; the built-in one takes its place, where there is one.
#[utoipa::path(post, path = "/v1/templates/{template_id}/archive", tag = "templates",
    params(("template_id" = Uuid, Path, description = "The version")),
    responses((status = 200, description = "Archived", body = TemplateView)),
    security(("api_key" = ["templates:write"])))]
async fn archive_template(
    caller: Caller,
    State(state): State<ApiState>,
    Path(template): Path<Uuid>,
) -> Answer<Json<TemplateView>> {
    let mut tx = state.tenant(&caller).tx().await?;
    let archived = templates::archive(&mut tx, TemplateId(template), state.now()).await?;
    state
        .audit(&mut tx, &caller, "template.archived", template.to_string())
        .await?;
    tx.commit().await?;
    Ok(Json(archived.into()))
}

/// What is wrong with a template, at the part it is in.
pub(crate) fn template_problem(error: &TemplateError, under: &str) -> Problem {
    let part = match error.part {
        Part::Subject => "subject",
        Part::Body => "body",
        Part::Text => "text_body",
        Part::Whatsapp => "whatsapp",
    };
    let line = error
        .line
        .map(|line| format!("line {line}: "))
        .unwrap_or_default();
    let detail = format!("{line}{}", error.problem);
    Problem::invalid(vec![FieldError::new(
        format!("{under}/{part}"),
        "template.invalid",
        detail,
    )])
}

/// Compiles a kept version, bound to its approved WhatsApp template where it has one.
pub(crate) fn compile_kept(template: &Template) -> Answer<CompiledTemplate> {
    let compiled = render::compile(&source_of(template)).map_err(|error| template_problem(&error, ""))?;
    match bound(template) {
        None => Ok(compiled),
        Some(binding) => compiled
            .with_whatsapp(binding)
            .map_err(|error| template_problem(&error, "")),
    }
}

/// The approved WhatsApp template of a version.
fn bound(template: &Template) -> Option<WhatsappBinding> {
    let kept = template.content.whatsapp.clone()?;
    serde_json::from_value(kept).ok()
}

/// A kept version, for the compiler.
fn source_of(template: &Template) -> TemplateSource {
    TemplateSource {
        message_type: template.key.message_type.clone(),
        channel: template.key.channel,
        locale: template.key.locale.clone(),
        subject: template.content.subject.clone(),
        body: template.content.body.clone(),
        format: format_of(template.content.body_format),
        text_body: template.content.text_body.clone(),
    }
}

fn format_of(format: BodyFormat) -> Format {
    match format {
        BodyFormat::Html => Format::Html,
        BodyFormat::Mjml => Format::Mjml,
        BodyFormat::Text => Format::Text,
    }
}

/// A draft to keep; replaces the earlier draft of the same type, channel and locale.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "message_type": "welcome", "channel": "email", "locale": "en",
    "subject": "Welcome, {{ first_name }}", "format": "html",
    "body": "<p>Hello {{ first_name }}, good to have you at {{ company }}.</p>"
}))]
pub struct TemplateDraft {
    /// The message type.
    #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[a-z][a-z0-9_]*$")]
    pub message_type: MessageType,
    /// The channel.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// Language tag; `en` when left out.
    #[serde(default = "english")]
    #[schema(min_length = 2, max_length = 35)]
    pub locale: String,
    /// Subject line (e-mail).
    #[schema(max_length = 250)]
    pub subject: Option<String>,
    /// What the body is written in.
    #[schema(value_type = BodyFormatWord)]
    pub format: BodyFormat,
    /// The body, with `{{ variables }}`.
    #[schema(min_length = 1, max_length = 1_048_576)]
    pub body: String,
    /// Text part (e-mail); derived from the HTML when left out.
    #[schema(max_length = 1_048_576)]
    pub text_body: Option<String>,
    /// The template approved at Meta that goes instead of the body outside the 24 h service window (WhatsApp).
    pub whatsapp: Option<WhatsappTemplateBody>,
}

fn english() -> String {
    "en".to_owned()
}

/// A version of a template.
#[derive(Serialize, ToSchema)]
pub struct TemplateView {
    /// Its id.
    pub id: Uuid,
    /// The message type.
    #[schema(value_type = String)]
    pub message_type: MessageType,
    /// The channel.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// Language tag.
    pub locale: String,
    /// Counts up with every draft.
    pub version: u32,
    /// Whether it is used.
    #[schema(value_type = TemplateStateWord)]
    pub state: TemplateState,
    /// Subject line.
    pub subject: Option<String>,
    /// What the body is written in.
    #[schema(value_type = BodyFormatWord)]
    pub format: BodyFormat,
    /// The body.
    pub body: String,
    /// Text part.
    pub text_body: Option<String>,
    /// The template approved at Meta that goes instead of the body outside the 24 h service window.
    pub whatsapp: Option<WhatsappTemplateBody>,
    /// What Meta last said of that template; while it is not approved, it is not used.
    pub whatsapp_review: Option<WhatsappReviewView>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was published.
    pub published_at: Option<Timestamp>,
}

impl TemplateDraft {
    /// What the form alone can tell wrong.
    pub(crate) fn check(&self) -> Answer<()> {
        let mut checks = Checks::default();
        checks.locale("/locale", Some(&self.locale));
        checks.optional_text("/subject", self.subject.as_deref(), 1, render::MAX_SUBJECT_CHARS);
        if self.body.is_empty() {
            checks.add("/body", "value.length", "it is empty");
        }
        checks.finish()
    }

    /// For the compiler.
    pub(crate) fn source(&self) -> TemplateSource {
        TemplateSource {
            message_type: self.message_type.clone(),
            channel: self.channel,
            locale: self.locale.clone(),
            subject: self.subject.clone(),
            body: self.body.clone(),
            format: format_of(self.format),
            text_body: self.text_body.clone(),
        }
    }

    /// Compiled, bound to its approved WhatsApp template where it has one.
    pub(crate) fn compile(&self) -> Result<CompiledTemplate, TemplateError> {
        let compiled = render::compile(&self.source())?;
        match &self.whatsapp {
            None => Ok(compiled),
            Some(of) => compiled.with_whatsapp(of.clone().into()),
        }
    }

    fn kept(self) -> (TemplateKey, TemplateContent) {
        let key = TemplateKey {
            message_type: self.message_type,
            channel: self.channel,
            locale: self.locale,
        };
        let whatsapp = self
            .whatsapp
            .map(WhatsappBinding::from)
            .and_then(|binding| serde_json::to_value(binding).ok());
        let (subject, body, body_format, text_body) = (self.subject, self.body, self.format, self.text_body);
        (
            key,
            TemplateContent {
                subject,
                body,
                body_format,
                text_body,
                whatsapp,
            },
        )
    }
}

impl From<Template> for TemplateView {
    fn from(template: Template) -> Self {
        let whatsapp = bound(&template).map(WhatsappTemplateBody::from);
        Self {
            id: template.id.0,
            message_type: template.key.message_type,
            channel: template.key.channel,
            locale: template.key.locale,
            version: template.version,
            state: template.state,
            subject: template.content.subject,
            format: template.content.body_format,
            body: template.content.body,
            text_body: template.content.text_body,
            whatsapp,
            whatsapp_review: None,
            created_at: template.created_at,
            updated_at: template.updated_at,
            published_at: template.published_at,
        }
    }
}

impl TemplateView {
    /// With Meta's word on the approved template: of several accounts the one that stops it.
    fn reviewed(template: Template, reviews: &[Review]) -> Self {
        let mut view = Self::from(template);
        let Some(of) = &view.whatsapp else { return view };
        let about = |review: &&Review| review.name == of.name && review.language == of.language;
        let review = reviews
            .iter()
            .filter(about)
            .find(|review| review.standing != "approved")
            .or_else(|| reviews.iter().find(about));
        view.whatsapp_review = review.cloned().map(WhatsappReviewView::from);
        view
    }
}

/// Which templates to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TemplateQuery {
    /// Only this message type.
    #[param(value_type = Option<String>)]
    pub message_type: Option<MessageType>,
    /// Only for this channel.
    #[param(value_type = Option<ChannelWord>)]
    pub channel: Option<Channel>,
    /// Only in this language.
    pub locale: Option<String>,
    /// Only in this state.
    #[param(value_type = Option<TemplateStateWord>)]
    pub state: Option<TemplateState>,
    /// Rows of a page, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}
