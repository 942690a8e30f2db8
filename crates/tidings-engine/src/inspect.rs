//! Looking before using: what a template would render, whether a connection is configured right and answers.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::tenancy;
use crate::whatsapp;
use serde_json::Value;
use tidings_core::{Category, ConnectionId, TenantId};
use tidings_providers::{CheckReport, ConfigError, ConnectionConfig, Credentials, WhatsappTemplate};
use tidings_render::{CompiledTemplate, RenderContext, RenderError, Rendered, message_types};
use tidings_store::StoreError;
use tidings_store::connections::{self, ConnectionSettings};

/// A template filled in, for a person to look at.
#[derive(Clone, Debug)]
pub struct TemplatePreview {
    /// What it rendered to; none while values are missing.
    pub rendered: Option<Rendered>,
    /// The approved WhatsApp template with its values, where it is bound to one.
    pub whatsapp: Option<WhatsappTemplate>,
    /// What the template asks for.
    pub variables: Vec<String>,
    /// Of these, what the context lacks.
    pub missing: Vec<String>,
}

impl Engine {
    /// Fills a template in with the tenant's brand. Nothing is tracked; links for unsubscribing lead to the base address.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for an unknown tenant, [`EngineError::Conflict`] when the template refuses the values.
    pub async fn preview(
        &self,
        tenant: TenantId,
        template: &CompiledTemplate,
        variables: &Value,
        category: Option<Category>,
    ) -> Result<TemplatePreview, EngineError> {
        let mut conn = self.inner.conn().await?;
        let views = tenancy::load(&self.inner, &mut conn, [tenant]).await?;
        let unknown = || EngineError::NotFound {
            what: "tenant",
            id: tenant.to_string(),
        };
        let view = views.get(&tenant).ok_or_else(unknown)?;
        let own = message_types::message_type(template.message_type().as_str()).map(|info| info.category);
        let link = self.public_base_url().as_str().to_owned();
        let mut context = RenderContext::new(
            variables,
            &view.brand,
            category.or(own).unwrap_or(Category::Service),
        );
        context.zone = Some(&view.policy().zone);
        context.unsubscribe_url = Some(&link);
        context.preference_url = Some(&link);
        let asked = template.variables().iter().cloned().collect();
        let both = template
            .render(&context)
            .and_then(|rendered| Ok((rendered, template.render_whatsapp(&context)?)));
        match both {
            Ok((rendered, bound)) => Ok(TemplatePreview {
                rendered: Some(rendered),
                whatsapp: bound.map(|bound| whatsapp::content(bound, String::new())),
                variables: asked,
                missing: Vec::new(),
            }),
            Err(RenderError::MissingVariables { names, .. }) => Ok(TemplatePreview {
                rendered: None,
                whatsapp: None,
                variables: asked,
                missing: names,
            }),
            Err(error) => Err(EngineError::Conflict {
                problem: error.to_string(),
            }),
        }
    }

    /// Whether a connection's settings and credentials are of its provider's form. Nothing is contacted.
    ///
    /// # Errors
    /// Where, what is wrong, and what to do.
    pub fn check_settings(&self, settings: &ConnectionSettings) -> Result<(), ConfigError> {
        let credentials = settings
            .credentials
            .clone()
            .map_or_else(Credentials::none, Credentials::new);
        let nobody = (TenantId(uuid::Uuid::nil()), ConnectionId(uuid::Uuid::nil()));
        let config = ConnectionConfig {
            kind: settings.provider,
            channel: settings.channel,
            settings: settings.config.clone(),
            credentials,
        };
        self.inner.providers.fresh(&config, nobody.0, nobody.1).map(drop)
    }

    /// Asks the provider whether credentials and endpoint work, also of a connection that is switched off. Sends nothing.
    ///
    /// # Errors
    /// When the tenant has no such connection. What the provider says is in the report.
    pub async fn check_connection(
        &self,
        tenant: TenantId,
        id: ConnectionId,
    ) -> Result<CheckReport, EngineError> {
        let store = self.store();
        let mut conn = self.inner.conn().await?;
        let all = connections::load_with_credentials(&mut conn, store.keyring(), &[tenant]).await?;
        drop(conn);
        let found = all.into_iter().find(|(connection, _)| connection.id == id);
        let (connection, secret) = found.ok_or_else(|| StoreError::not_found("connection", id))?;
        let config = ConnectionConfig {
            kind: connection.provider,
            channel: connection.channel,
            settings: connection.config,
            credentials: secret.map_or_else(Credentials::none, Credentials::new),
        };
        match self.inner.providers.fresh(&config, tenant, id) {
            Ok(provider) => Ok(provider.check().await),
            Err(error) => Ok(CheckReport {
                ok: false,
                findings: vec![error.to_string()],
            }),
        }
    }
}
