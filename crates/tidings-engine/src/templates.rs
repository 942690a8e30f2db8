//! Templates of a batch: the tenant's published versions, else the built-in ones. Compiled once and kept.

use crate::error::EngineError;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use tidings_core::{Channel, MessageType, TemplateId, TenantId};
use tidings_render::{CompiledTemplate, Format, TemplateSource, builtin, compile};
use tidings_store::Conn;
use tidings_store::messages::published::{self, PublishedRow, TemplateText};

/// Compiled versions kept in memory; beyond it all are compiled anew when they are needed.
const KEPT: usize = 4_096;

type Compiled = Result<Arc<CompiledTemplate>, String>;

/// The compiled templates of one process.
#[derive(Debug)]
pub(crate) struct Templates(Mutex<HashMap<(TenantId, TemplateId), Compiled>>);

/// A template to render with.
#[derive(Clone, Debug)]
pub(crate) enum Template {
    /// A tenant's version.
    Own(TemplateId, Arc<CompiledTemplate>),
    /// One that comes with the product.
    Builtin(&'static CompiledTemplate),
}

impl Template {
    pub fn compiled(&self) -> &CompiledTemplate {
        match self {
            Self::Own(_, compiled) => compiled,
            Self::Builtin(compiled) => compiled,
        }
    }

    pub const fn id(&self) -> Option<TemplateId> {
        match self {
            Self::Own(id, _) => Some(*id),
            Self::Builtin(_) => None,
        }
    }
}

/// A tenant's published version, compiled.
type OwnVersion = (PublishedRow, Arc<CompiledTemplate>);

/// What a batch can render: by tenant and type.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    own: HashMap<(TenantId, MessageType), Vec<OwnVersion>>,
}

impl Templates {
    pub fn new() -> Self {
        Self(Mutex::default())
    }

    /// Loads what the types of a batch need. A published version that does not compile is left out with a warning: the
    /// publishing side refuses it, so it was written past that.
    pub async fn load(
        &self,
        conn: &mut Conn,
        wanted: impl IntoIterator<Item = (TenantId, MessageType)>,
    ) -> Result<Shelf, EngineError> {
        let wanted: Vec<_> = wanted.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let mut shelf = Shelf::default();
        for row in published::load(conn, &wanted).await? {
            let compiled = match self.kept(&row) {
                Some(compiled) => compiled,
                None => self.compile(conn, &row).await?,
            };
            match compiled {
                Ok(compiled) => {
                    shelf
                        .own
                        .entry((row.tenant, row.message_type.clone()))
                        .or_default()
                        .push((row, compiled));
                }
                Err(problem) => {
                    tracing::warn!(tenant = %row.tenant, template = %row.id, problem, "a published template is unusable");
                }
            }
        }
        Ok(shelf)
    }

    async fn compile(&self, conn: &mut Conn, row: &PublishedRow) -> Result<Compiled, EngineError> {
        let compiled = match published::text(conn, row.tenant, row.id).await? {
            Some(text) => compiled(row, text).map(Arc::new),
            None => Err("it was removed".to_owned()),
        };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert((row.tenant, row.id), compiled.clone());
        Ok(compiled)
    }

    fn kept(&self, row: &PublishedRow) -> Option<Compiled> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&(row.tenant, row.id))
            .cloned()
    }
}

fn compiled(row: &PublishedRow, mut text: TemplateText) -> Result<CompiledTemplate, String> {
    let bound = text.whatsapp.take();
    let compiled = compile(&source(row, text)).map_err(|error| error.to_string())?;
    match bound {
        None => Ok(compiled),
        Some(bound) => {
            let bound = serde_json::from_value(bound).map_err(|error| format!("whatsapp: {error}"))?;
            compiled.with_whatsapp(bound).map_err(|error| error.to_string())
        }
    }
}

fn source(row: &PublishedRow, text: TemplateText) -> TemplateSource {
    TemplateSource {
        message_type: row.message_type.clone(),
        channel: row.channel,
        locale: row.locale.clone(),
        subject: text.subject,
        body: text.body,
        format: match text.body_format.as_str() {
            "mjml" => Format::Mjml,
            "html" => Format::Html,
            _ => Format::Text,
        },
        text_body: text.text_body,
    }
}

impl Shelf {
    /// The best template: the tenant's in the very locale, then in its language, then in any; else the built-in.
    pub fn find(
        &self,
        tenant: TenantId,
        message_type: &MessageType,
        channel: Channel,
        locale: Option<&str>,
    ) -> Option<Template> {
        match self.best(tenant, message_type, channel, locale) {
            Some((row, compiled)) => Some(Template::Own(row.id, Arc::clone(compiled))),
            None => {
                builtin(message_type.as_str(), channel).map(|template| Template::Builtin(template.compiled()))
            }
        }
    }

    fn best(
        &self,
        tenant: TenantId,
        message_type: &MessageType,
        channel: Channel,
        locale: Option<&str>,
    ) -> Option<&OwnVersion> {
        let own = self
            .own
            .get(&(tenant, message_type.clone()))
            .into_iter()
            .flatten();
        own.filter(|(row, _)| row.channel == channel)
            .max_by_key(|(row, _)| {
                (
                    closeness(&row.locale, locale),
                    std::cmp::Reverse(row.locale.clone()),
                )
            })
    }

    /// Whether the type's WhatsApp template goes by an approved one, which Meta has not stopped.
    pub fn has_whatsapp_template(
        &self,
        tenant: TenantId,
        message_type: &MessageType,
        locale: Option<&str>,
    ) -> bool {
        self.best(tenant, message_type, Channel::Whatsapp, locale)
            .is_some_and(|(row, _)| row.whatsapp_template)
    }

    /// Channels with a template.
    pub fn channels(&self, tenant: TenantId, message_type: &MessageType) -> Vec<Channel> {
        Channel::ALL
            .iter()
            .copied()
            .filter(|channel| self.find(tenant, message_type, *channel, None).is_some())
            .collect()
    }
}

/// How near a template's locale is to the one wanted; English where nothing is wanted.
fn closeness(has: &str, wanted: Option<&str>) -> u8 {
    let wanted = wanted.unwrap_or("en");
    let language = |locale: &str| {
        locale
            .split(['-', '_'])
            .next()
            .unwrap_or(locale)
            .to_ascii_lowercase()
    };
    if has.eq_ignore_ascii_case(wanted) {
        3
    } else if language(has) == language(wanted) {
        2
    } else {
        u8::from(language(has) == "en")
    }
}
