//! Settings of a sandbox connection.

use super::faults::Fault;
use secrecy::SecretString;
use serde::Deserialize;

/// Settings of a sandbox connection; all have defaults.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxSettings {
    /// A stand-in to speak to instead of capturing in the engine.
    pub base_url: Option<String>,
    /// The fault every message meets, or the share of them given by `fault_percent`.
    pub fault: Option<Fault>,
    /// Share of messages that meet `fault` (0 to 100, default 100). Which ones follows from the reference, so a
    /// retry of the same dispatch meets the same.
    pub fault_percent: Option<u8>,
    /// How long the fault `slow` and the two time-outs take, in milliseconds (default 0, at most 60,000).
    pub slow_ms: u64,
    /// What `rate_limited` asks to wait, in seconds (default 1).
    pub retry_after_s: Option<u64>,
}

/// Secrets of a sandbox connection.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxCredentials {
    /// Signs the stand-in's webhooks (Standard Webhooks, `whsec_...`); without it webhooks are refused.
    pub webhook_secret: Option<SecretString>,
}
