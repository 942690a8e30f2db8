//! What a file's values must be, before anything of a tenant is written: zones, addresses, settings of connections.

use super::file::{ConnectionSection, ContactSection, TenantSection};
use crate::failure::Failure;
use anyhow::{Context, Result, bail};
use secrecy::SecretString;
use serde_json::Value;
use std::sync::Arc;
use tidings_core::address::Address;
use tidings_core::decide::Policy;
use tidings_core::{Channel, zone};
use tidings_providers::egress::{Egress, EgressPolicy};
use tidings_providers::sandbox::MemoryCapture;
use tidings_providers::{ConnectionConfig, Credentials};

/// Checks a tenant and its contacts.
pub fn tenant(section: &TenantSection) -> Result<()> {
    let region = section
        .policy
        .as_ref()
        .and_then(|policy| policy.default_region.as_deref());
    if let Some(of_tenant) = &section.policy {
        policy(of_tenant)?;
    }
    for one in &section.contacts {
        contact(one, region).with_context(|| format!("contact {}/{}", section.slug, one.external_id))?;
    }
    Ok(())
}

/// Checks a policy.
pub fn policy(policy: &Policy) -> Result<()> {
    known_zone("policy.zone", Some(&policy.zone))?;
    known_country("policy.default_region", policy.default_region.as_deref())?;
    match policy.time_limits.problems().first() {
        None => Ok(()),
        Some((field, problem)) => bail!(Failure::Refused(format!("policy.time_limits.{field}: {problem}"))),
    }
}

fn contact(section: &ContactSection, region: Option<&str>) -> Result<()> {
    known_zone("zone", section.zone.as_deref())?;
    known_country("country", section.country.as_deref())?;
    for (field, channel, text) in [
        ("email", Channel::Email, &section.email),
        ("phone", Channel::Sms, &section.phone),
    ] {
        let Some(text) = text else { continue };
        // The error says what is wrong and never repeats the address.
        Address::parse(channel, text, region)
            .map_err(|error| Failure::Refused(format!("{field}: {error}")))?;
    }
    Ok(())
}

fn known_zone(field: &str, name: Option<&str>) -> Result<()> {
    if let Some(name) = name.filter(|name| zone::find(name).is_none()) {
        bail!(Failure::Refused(format!(
            "{field}: there is no time zone \"{name}\"; use an IANA name such as Europe/Vienna"
        )));
    }
    Ok(())
}

fn known_country(field: &str, code: Option<&str>) -> Result<()> {
    let form = |code: &&str| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    if let Some(code) = code.filter(|code| !form(code)) {
        bail!(Failure::Refused(format!(
            "{field}: \"{code}\" is not a country; use two capital letters, as in US or AT"
        )));
    }
    Ok(())
}

/// Checks that the provider can be made of the settings. Nothing is contacted.
pub fn connection(
    section: &ConnectionSection,
    settings: &Value,
    credentials: Option<&SecretString>,
) -> Result<()> {
    let config = ConnectionConfig {
        kind: section.provider,
        channel: section.channel,
        settings: settings.clone(),
        credentials: credentials.map_or_else(Credentials::none, |secret| Credentials::new(secret.clone())),
    };
    // Which addresses may be reached is decided when one is, not here.
    let egress = Egress::new(EgressPolicy::for_stand_ins()).context("the HTTP client could not be built")?;
    tidings_providers::build(&config, &egress, Arc::new(MemoryCapture::default()))
        .map_err(Failure::refused)?;
    Ok(())
}
