//! What an API key may do.

use std::fmt;
use std::str::FromStr;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

/// One right of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Read messages, their timelines and decisions.
    MessagesRead,
    /// Send and cancel messages.
    MessagesWrite,
    /// Read campaigns, their runs and coverage, and ask why somebody got nothing.
    CampaignsRead,
    /// Run campaigns.
    CampaignsWrite,
    /// Read contacts and suppressions.
    ContactsRead,
    /// Change contacts, consents and suppressions; erase.
    ContactsWrite,
    /// Read and preview templates.
    TemplatesRead,
    /// Change and publish templates.
    TemplatesWrite,
    /// Read connections (never their credentials).
    ConnectionsRead,
    /// Change and test connections.
    ConnectionsWrite,
    /// Read queue figures, dead letters and unknown outcomes.
    QueueRead,
    /// Replay, edit and purge dead letters; decide unknown outcomes.
    QueueWrite,
    /// Read alerts, and who is told of them.
    AlertsRead,
    /// Take alerts on, set thresholds and who is told, send tests.
    AlertsWrite,
    /// Read figures of deliveries.
    AnalyticsRead,
    /// Read what the sandbox captured.
    SandboxRead,
    /// Answer in the sandbox as the customer.
    SandboxWrite,
    /// List, make and revoke API keys of the tenant.
    KeysAdmin,
    /// Make and change tenants, and act for any of them. Operator keys only.
    TenantsAdmin,
}

impl Scope {
    /// Every scope.
    pub const ALL: &'static [Self] = &[
        Self::MessagesRead,
        Self::MessagesWrite,
        Self::CampaignsRead,
        Self::CampaignsWrite,
        Self::ContactsRead,
        Self::ContactsWrite,
        Self::TemplatesRead,
        Self::TemplatesWrite,
        Self::ConnectionsRead,
        Self::ConnectionsWrite,
        Self::QueueRead,
        Self::QueueWrite,
        Self::AlertsRead,
        Self::AlertsWrite,
        Self::AnalyticsRead,
        Self::SandboxRead,
        Self::SandboxWrite,
        Self::KeysAdmin,
        Self::TenantsAdmin,
    ];

    /// The word in keys, documents and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MessagesRead => "messages:read",
            Self::MessagesWrite => "messages:write",
            Self::CampaignsRead => "campaigns:read",
            Self::CampaignsWrite => "campaigns:write",
            Self::ContactsRead => "contacts:read",
            Self::ContactsWrite => "contacts:write",
            Self::TemplatesRead => "templates:read",
            Self::TemplatesWrite => "templates:write",
            Self::ConnectionsRead => "connections:read",
            Self::ConnectionsWrite => "connections:write",
            Self::QueueRead => "queue:read",
            Self::QueueWrite => "queue:write",
            Self::AlertsRead => "alerts:read",
            Self::AlertsWrite => "alerts:write",
            Self::AnalyticsRead => "analytics:read",
            Self::SandboxRead => "sandbox:read",
            Self::SandboxWrite => "sandbox:write",
            Self::KeysAdmin => "keys:admin",
            Self::TenantsAdmin => "tenants:admin",
        }
    }

    /// Whether a granted word covers this scope: the word itself, or `<group>:*`. There is no word for everything.
    pub fn covered_by(self, granted: &str) -> bool {
        let word = self.as_str();
        granted == word
            || granted
                .strip_suffix('*')
                .is_some_and(|group| group.ends_with(':') && word.starts_with(group))
    }

    /// Whether a word may be granted: a scope, or a group's `*`.
    pub fn is_grantable(granted: &str) -> bool {
        Self::ALL.iter().any(|scope| scope.covered_by(granted))
    }

    /// The words that may be granted, for messages.
    pub fn words() -> String {
        Self::ALL
            .iter()
            .map(|scope| scope.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such scope")]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|scope| scope.as_str() == word)
            .ok_or(UnknownScope)
    }
}

/// Schema of a grantable word.
#[derive(Debug)]
pub enum ScopeWord {}

impl utoipa::PartialSchema for ScopeWord {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .description(Some(format!(
                "A right of an API key: one of {}, or a group as in `messages:*`",
                Scope::words()
            )))
            .into()
    }
}

impl utoipa::ToSchema for ScopeWord {
    fn name() -> std::borrow::Cow<'static, str> {
        "Scope".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_covers_its_scopes_and_nothing_else() {
        assert!(Scope::QueueRead.covered_by("queue:*"));
        assert!(Scope::QueueRead.covered_by("queue:read"));
        assert!(!Scope::QueueRead.covered_by("queue:write"));
        assert!(!Scope::QueueRead.covered_by("*"));
        assert!(!Scope::QueueRead.covered_by("q*"));
        assert!(!Scope::QueueRead.covered_by(""));
        assert!(Scope::is_grantable("templates:*") && !Scope::is_grantable("everything:*"));
    }
}
