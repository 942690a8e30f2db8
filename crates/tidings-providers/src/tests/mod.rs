//! Tests against stand-ins on real sockets.
#![expect(clippy::unwrap_used, reason = "tests")]

mod bounces;
mod compliance;
mod documents;
mod egress;
mod feedback;
mod moto;
mod postfix;
mod sending;
mod ses;
mod smtp;
mod webhooks;
mod whatsapp;

use crate::config::{ConnectionConfig, Credentials, build};
use crate::contract::Provider;
use crate::egress::{Egress, EgressPolicy};
use crate::sandbox::MemoryCapture;
use crate::stand_in::smtp::TEST_AUTHORITY;
use secrecy::SecretString;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::clock::FixedClock;
use tidings_core::{Channel, ProviderKind};

/// Short timeouts, this machine may be reached, and the stand-ins' authority is trusted.
fn policy() -> EgressPolicy {
    EgressPolicy {
        connect_timeout: Duration::from_millis(500),
        total_timeout: Duration::from_millis(700),
        extra_roots_pem: vec![TEST_AUTHORITY.to_owned()],
        ..EgressPolicy::for_stand_ins()
    }
}

/// Egress by a policy, with a clock that stands at 2026-11-20T10:00:00Z.
fn egress_by(policy: EgressPolicy) -> Egress {
    let clock = FixedClock::new("2026-11-20T10:00:00Z".parse().unwrap());
    Egress::new(policy).unwrap().with_clock(Arc::new(clock))
}

fn egress() -> Egress {
    egress_by(policy())
}

/// Egress that by itself waits longer than any test may take.
fn patient_egress() -> Egress {
    egress_by(EgressPolicy {
        total_timeout: Duration::from_hours(1),
        ..policy()
    })
}

/// A provider from settings and credentials as they would be stored.
fn provider(kind: ProviderKind, settings: Value, credentials: &Value) -> Arc<dyn Provider> {
    provider_over(&egress(), kind, settings, credentials)
}

fn provider_over(
    egress: &Egress,
    kind: ProviderKind,
    settings: Value,
    credentials: &Value,
) -> Arc<dyn Provider> {
    let channel = match kind {
        ProviderKind::Twilio => Channel::Sms,
        ProviderKind::WhatsappCloud => Channel::Whatsapp,
        ProviderKind::WhatsappWeb => Channel::WhatsappWeb,
        _ => Channel::Email,
    };
    let credentials = Credentials::new(SecretString::from(credentials.to_string()));
    let config = ConnectionConfig {
        kind,
        channel,
        settings,
        credentials,
    };
    build(&config, egress, Arc::new(MemoryCapture::new())).unwrap()
}
