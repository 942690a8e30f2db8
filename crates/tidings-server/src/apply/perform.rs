//! Compares the file with what is there, and makes up the difference.

use super::check;
use super::diff::{Entry, json_differences};
use super::file::{ApplyFile, ConnectionSection, ContactSection, TemplateSection, TenantSection};
use crate::config::Environment;
use crate::failure::Failure;
use anyhow::{Context, Result};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tidings_core::redact::Private;
use tidings_core::{Channel, Dice, TenantId};
use tidings_render::{Format, TemplateSource};
use tidings_store::connections::{self, ConnectionSettings};
use tidings_store::consents::{self, NewConsent};
use tidings_store::contacts::{self, AddressInput, AddressKind, ContactInput};
use tidings_store::templates::{self, BodyFormat, TemplateContent, TemplateKey};
use tidings_store::tenants::{self, NewTenant, Tenant, TenantChanges, TenantSettings};
use tidings_store::{Store, StoreError, TenantTx};

/// What applying needs.
#[derive(Debug)]
pub struct Applier<'a> {
    /// The store.
    pub store: &'a Store,
    /// For credentials that are named, not written.
    pub environment: &'a Environment,
    /// For new ids.
    pub dice: Dice,
    /// Now.
    pub now: Timestamp,
    /// Compare only.
    pub dry_run: bool,
}

/// Applies a file. Each tenant is one transaction: an error leaves that tenant as it was.
pub async fn apply(applier: &mut Applier<'_>, file: &ApplyFile) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for section in &file.tenants {
        let done = applier.tenant(section).await;
        entries.extend(done.with_context(|| format!("tenant {}: nothing of it was changed", section.slug))?);
    }
    Ok(entries)
}

impl Applier<'_> {
    async fn tenant(&mut self, section: &TenantSection) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let settings = settings(section)?;
        check::tenant(section)?;
        let found = self.find(&section.slug).await?;
        let what = format!("tenant {}", section.slug);
        let id = found
            .as_ref()
            .map_or_else(|| TenantId(self.dice.uuid(self.now)), |tenant| tenant.id);
        // One transaction for the tenant and everything in it; a dry run does it all and takes it back.
        let mut tx = self.store.worker_tenant(id).tx().await?;
        if let Some(tenant) = found {
            let entry = Entry::existing(what, tenant_differences(&tenant, section, settings.as_ref()));
            if entry.is_change() {
                self.update(&mut tx, id, section, settings).await?;
            }
            entries.push(entry);
        } else {
            self.create(&mut tx, id, section, settings).await?;
            entries.push(Entry::created(what));
        }
        for connection in &section.connections {
            entries.push(self.connection(&mut tx, &section.slug, connection).await?);
        }
        for template in &section.templates {
            entries.push(self.template(&mut tx, &section.slug, template).await?);
        }
        let region = section
            .policy
            .as_ref()
            .and_then(|policy| policy.default_region.clone());
        for contact in &section.contacts {
            entries.push(
                self.contact(&mut tx, &section.slug, contact, region.as_deref())
                    .await?,
            );
        }
        if let Some(source) = &section.source {
            entries.push(self.source(&mut tx, section, source).await?);
        }
        if let Some(model) = &section.model {
            entries.push(self.model(&mut tx, &section.slug, model).await?);
        }
        if let Some(alerts) = &section.alerts {
            entries.push(self.alerts(&mut tx, &section.slug, alerts).await?);
        }
        if let Some(campaigns) = &section.campaigns {
            entries.extend(self.campaigns(&mut tx, &section.slug, campaigns).await?);
        }
        if self.dry_run {
            tx.rollback().await?;
        } else {
            tx.commit().await?;
        }
        Ok(entries)
    }

    async fn find(&self, slug: &str) -> Result<Option<Tenant>> {
        let mut conn = self.store.worker().acquire().await?;
        match tenants::get_by_slug(&mut conn, slug).await {
            Ok(tenant) => Ok(Some(tenant)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn create(
        &self,
        tx: &mut TenantTx,
        id: TenantId,
        section: &TenantSection,
        settings: Option<TenantSettings>,
    ) -> Result<()> {
        let tenant = NewTenant {
            id,
            slug: section.slug.clone(),
            name: section.name.clone(),
            policy: section.policy.clone().unwrap_or_default(),
            settings: settings.unwrap_or_default(),
        };
        tenants::create(tx, self.store.keyring(), tenant, self.now).await?;
        Ok(())
    }

    async fn update(
        &self,
        tx: &mut TenantTx,
        id: TenantId,
        section: &TenantSection,
        settings: Option<TenantSettings>,
    ) -> Result<()> {
        let changes = TenantChanges {
            name: Some(section.name.clone()),
            status: None,
            policy: section.policy.clone(),
            settings,
        };
        tenants::update(tx, id, changes, self.now).await?;
        Ok(())
    }

    async fn connection(
        &mut self,
        tx: &mut TenantTx,
        slug: &str,
        section: &ConnectionSection,
    ) -> Result<Entry> {
        let what = format!("connection {slug}/{}", section.name);
        let credentials = self.credentials(section).with_context(|| what.clone())?;
        let config = to_json(&section.settings)?;
        let wanted = ConnectionSettings {
            name: section.name.clone(),
            channel: section.channel,
            provider: section.provider,
            config,
            credentials: credentials.clone(),
            priority: section.priority,
            weight: u32::try_from(section.weight).with_context(|| format!("{what}: weight is below 0"))?,
            enabled: section.enabled,
            rate_limit: section.rate_limit,
            call_limit_ms: section.call_limit_ms,
        };
        let existing = match connections::get_by_name(tx, &section.name).await {
            Ok(connection) => connection,
            Err(StoreError::NotFound { .. }) => {
                check::connection(section, &wanted.config, credentials.as_ref())
                    .with_context(|| what.clone())?;
                connections::create(tx, &wanted, &mut self.dice, self.now)
                    .await
                    .with_context(|| what.clone())?;
                return Ok(Entry::created(what));
            }
            Err(error) => return Err(error.into()),
        };
        let mut differences = json_differences(
            &serde_json::json!({
                "provider": existing.provider, "channel": existing.channel, "settings": existing.config,
                "priority": existing.priority, "weight": existing.weight, "enabled": existing.enabled,
                "rate_limit": existing.rate_limit, "call_limit_ms": existing.call_limit_ms,
            }),
            &serde_json::json!({
                "provider": wanted.provider, "channel": wanted.channel, "settings": wanted.config,
                "priority": wanted.priority, "weight": wanted.weight, "enabled": wanted.enabled,
                "rate_limit": wanted.rate_limit, "call_limit_ms": wanted.call_limit_ms,
            }),
        );
        let tenant = tx.tenant();
        let keyring = tx.keyring();
        let mut known = connections::load_with_credentials(tx, &keyring, &[tenant]).await?;
        let stored = known
            .iter_mut()
            .find(|pair| pair.0.id == existing.id)
            .and_then(|pair| pair.1.take());
        // A file without credentials leaves those that are stored.
        check::connection(section, &wanted.config, credentials.as_ref().or(stored.as_ref()))
            .with_context(|| what.clone())?;
        if let Some(new) = &credentials
            && stored.as_ref().map(ExposeSecret::expose_secret) != Some(new.expose_secret())
        {
            differences.push("credentials: changed".to_owned());
        }
        let entry = Entry::existing(what.clone(), differences);
        if entry.is_change() {
            connections::update(tx, existing.id, &wanted, self.now)
                .await
                .with_context(|| what)?;
        }
        Ok(entry)
    }

    fn credentials(&self, section: &ConnectionSection) -> Result<Option<SecretString>> {
        if section.credentials.is_empty() {
            return Ok(None);
        }
        let mut values = serde_json::Map::new();
        for (name, credential) in &section.credentials {
            let secret = self.secret(&format!("credentials.{name}"), credential)?;
            let value = secret.expose_secret().to_owned();
            values.insert(name.clone(), Value::String(value));
        }
        Ok(Some(SecretString::from(Value::Object(values).to_string())))
    }

    async fn template(&mut self, tx: &mut TenantTx, slug: &str, section: &TemplateSection) -> Result<Entry> {
        let what = format!(
            "template {slug}/{} {} {}",
            section.message_type, section.channel, section.locale
        );
        let content = template_content(section).with_context(|| what.clone())?;
        check_template(section, &content).with_context(|| what.clone())?;
        let locales = [section.locale.clone()];
        let published = templates::published(tx, &section.message_type, section.channel, &locales).await?;
        let entry = match &published {
            None => Entry::created(what.clone()),
            Some(published) => Entry::existing(
                what.clone(),
                json_differences(
                    &serde_json::to_value(&published.content)?,
                    &serde_json::to_value(&content)?,
                ),
            ),
        };
        if entry.is_change() {
            let key = TemplateKey {
                message_type: section.message_type.clone(),
                channel: section.channel,
                locale: section.locale.clone(),
            };
            let draft = templates::save_draft(tx, &key, &content, &mut self.dice, self.now).await?;
            templates::publish(tx, draft.id, self.now)
                .await
                .with_context(|| what)?;
        }
        Ok(entry)
    }

    async fn contact(
        &mut self,
        tx: &mut TenantTx,
        slug: &str,
        section: &ContactSection,
        region: Option<&str>,
    ) -> Result<Entry> {
        let what = format!("contact {slug}/{}", section.external_id);
        let known = match contacts::get_by_external_id(tx, &section.external_id).await {
            Ok(contact) => Some(contact),
            Err(StoreError::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let mut entry = match &known {
            None => Entry::created(what.clone()),
            Some(contact) => Entry::existing(what.clone(), contact_differences(contact, section)),
        };
        if entry.is_change() {
            let input = contact_input(section);
            contacts::upsert(tx, input, region, &mut self.dice, self.now)
                .await
                .with_context(|| what.clone())?;
        }
        let contact = contacts::get_by_external_id(tx, &section.external_id).await?;
        let tenant = tx.tenant();
        let mut in_force = consents::in_force(tx, &[(tenant, contact.id)]).await?;
        let given = in_force.remove(&(tenant, contact.id)).unwrap_or_default();
        for consent in &section.consents {
            let there = given
                .iter()
                .any(|c| c.purpose == consent.purpose && c.channel == consent.channel);
            // A withdrawal is the contact's word; a file does not overrule it.
            if there {
                continue;
            }
            let new = NewConsent {
                contact: contact.id,
                purpose: consent.purpose,
                channel: consent.channel,
                granted: true,
                source: consent.source.clone(),
                wording: consent.wording.clone(),
            };
            consents::record(tx, new, &mut self.dice, self.now)
                .await
                .with_context(|| what.clone())?;
            if known.is_some() {
                let line = format!(
                    "consent: {} {}",
                    consent.purpose,
                    consent.channel.map_or("every channel", Channel::as_str)
                );
                let mut differences = entry.differences;
                differences.push(line);
                entry = Entry::existing(what.clone(), differences);
            }
        }
        Ok(entry)
    }
}

fn settings(section: &TenantSection) -> Result<Option<TenantSettings>> {
    let Some(table) = &section.settings else {
        return Ok(None);
    };
    let settings = table.clone().try_into::<TenantSettings>();
    Ok(Some(settings.map_err(|error| {
        Failure::Refused(format!("settings: {error}"))
    })?))
}

fn to_json(table: &toml::Table) -> Result<Value> {
    serde_json::to_value(table).context("the settings cannot be written as JSON")
}

fn tenant_differences(
    tenant: &Tenant,
    section: &TenantSection,
    settings: Option<&TenantSettings>,
) -> Vec<String> {
    let policy = section.policy.as_ref().unwrap_or(&tenant.policy);
    let settings = settings.unwrap_or(&tenant.settings);
    json_differences(
        &serde_json::json!({ "name": tenant.name, "policy": tenant.policy, "settings": tenant.settings }),
        &serde_json::json!({ "name": section.name, "policy": policy, "settings": settings }),
    )
}

fn template_content(section: &TemplateSection) -> Result<TemplateContent> {
    let default = if section.channel == Channel::Email {
        "html"
    } else {
        "text"
    };
    let word = section.format.as_deref().unwrap_or(default);
    let body_format = word
        .parse::<BodyFormat>()
        .map_err(|error| Failure::Refused(format!("format: {error}")))?;
    Ok(TemplateContent {
        subject: section.subject.clone(),
        body: section.body.clone().context("body is missing")?,
        body_format,
        text_body: section.text_body.clone(),
        whatsapp: section.whatsapp.as_ref().map(serde_json::to_value).transpose()?,
    })
}

/// A template that does not compile is refused here, not when the first message needs it.
fn check_template(section: &TemplateSection, content: &TemplateContent) -> Result<()> {
    let format = match content.body_format {
        BodyFormat::Html => Format::Html,
        BodyFormat::Mjml => Format::Mjml,
        BodyFormat::Text => Format::Text,
    };
    let compiled = tidings_render::compile(&TemplateSource {
        message_type: section.message_type.clone(),
        channel: section.channel,
        locale: section.locale.clone(),
        subject: content.subject.clone(),
        body: content.body.clone(),
        format,
        text_body: content.text_body.clone(),
    })
    .map_err(Failure::refused)?;
    if let Some(binding) = &section.whatsapp {
        compiled
            .with_whatsapp(binding.clone())
            .map_err(Failure::refused)?;
    }
    Ok(())
}

fn contact_input(section: &ContactSection) -> ContactInput {
    let address = |kind: AddressKind, text: &Option<String>| {
        text.as_ref().map(|text| AddressInput {
            kind,
            text: Private::new(text.clone()),
            primary: true,
        })
    };
    ContactInput {
        external_id: Some(section.external_id.clone()),
        name: section.name.clone().map(Private::new),
        zone: section.zone.clone(),
        locale: section.locale.clone(),
        country: section.country.clone(),
        preferred_channels: (!section.preferred_channels.is_empty())
            .then(|| section.preferred_channels.clone()),
        addresses: [
            address(AddressKind::Email, &section.email),
            address(AddressKind::Phone, &section.phone),
        ]
        .into_iter()
        .flatten()
        .collect(),
        ..ContactInput::default()
    }
}

/// Differences by field, values hidden where they are personal.
fn contact_differences(contact: &contacts::Contact, section: &ContactSection) -> Vec<String> {
    let mut found = Vec::new();
    let mut field = |name: &str, known: Option<&str>, wanted: Option<&str>| {
        if wanted.is_some() && known != wanted {
            found.push(format!("{name}: changed"));
        }
    };
    field(
        "name",
        contact.name.as_ref().map(|name| name.expose().as_str()),
        section.name.as_deref(),
    );
    field("zone", contact.zone.as_deref(), section.zone.as_deref());
    field("locale", contact.locale.as_deref(), section.locale.as_deref());
    field("country", contact.country.as_deref(), section.country.as_deref());
    for (name, kind, wanted) in [
        ("email", AddressKind::Email, &section.email),
        ("phone", AddressKind::Phone, &section.phone),
    ] {
        let primary = contact
            .addresses
            .iter()
            .find(|address| address.kind == kind && address.is_primary);
        field(
            name,
            primary.map(|address| address.text.expose().as_str()),
            wanted.as_deref(),
        );
    }
    if !section.preferred_channels.is_empty()
        && contact.preferences.preferred_channels != section.preferred_channels
    {
        found.push("preferred_channels: changed".to_owned());
    }
    found
}
