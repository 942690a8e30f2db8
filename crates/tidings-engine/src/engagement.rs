//! Our own tracking: the open pixel and the click links. Both are signed; what is not leads nowhere.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::links::Token;
use crate::track;
use jiff::Timestamp;
use tidings_core::event::DeliveryEventKind;
use tidings_core::{ConnectionId, DeliveryEventId, MessageId, Provenance, TenantId};
use tidings_store::TenantKey;
use tidings_store::tracking::reports::{self, NewReport};
use url::Url;
use uuid::Uuid;

/// Opens sooner than this after acceptance are a scanner's or prefetcher's: no person is that fast.
const MACHINE_OPEN_SECONDS: i64 = 2;
/// Parts of user agents that fetch images without a person: Apple's privacy proxy names itself only "Mozilla/5.0".
const MACHINE_AGENTS: [&str; 7] = [
    "googleimageproxy",
    "yahoomailproxy",
    "bot",
    "crawler",
    "spider",
    "preview",
    "barracuda",
];

/// Who reports what our own pixel, links and pages noticed: no connection.
pub(crate) const OURSELVES: ConnectionId = ConnectionId(Uuid::nil());

/// Reports of the same kind within so many seconds are one.
const SAME_REPORT_SECONDS: i64 = 60;

impl Engine {
    /// Notes that the pixel of a message was fetched. A token that is not ours changes nothing.
    pub async fn opened(&self, token: &str, user_agent: &str) -> Result<(), EngineError> {
        let Some((tenant, key, token)) = self.token_key(token).await? else {
            return Ok(());
        };
        let Some(message) = token.open(&key) else {
            return Ok(());
        };
        let kind = if is_machine(user_agent) {
            DeliveryEventKind::MachineOpened
        } else {
            DeliveryEventKind::Opened
        };
        self.engaged(tenant, message, kind, None).await
    }

    /// Where a click leads; none for a token that is not ours. The click is noted on the way; when it cannot be, the person
    /// still gets where they wanted to go.
    pub async fn clicked(&self, token: &str, user_agent: &str) -> Result<Option<Url>, EngineError> {
        let Some((message, tenant, url)) = self.click_target(token).await? else {
            return Ok(None);
        };
        if !is_machine(user_agent) {
            let host = url.host_str().unwrap_or_default();
            if let Err(error) = self
                .engaged(tenant, message, DeliveryEventKind::Clicked, Some(host))
                .await
            {
                tracing::warn!(%error, %message, "a click was not noted");
            }
        }
        Ok(Some(url))
    }

    async fn click_target(&self, token: &str) -> Result<Option<(MessageId, TenantId, Url)>, EngineError> {
        let Some((tenant, key, token)) = self.token_key(token).await? else {
            return Ok(None);
        };
        let Some((message, target)) = token.click(&key) else {
            return Ok(None);
        };
        let url = Url::parse(&target)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        Ok(url.map(|url| (message, tenant, url)))
    }

    /// A token with the key of the tenant it claims; none when there is no such tenant.
    pub(crate) async fn token_key(
        &self,
        token: &str,
    ) -> Result<Option<(TenantId, TenantKey, Token)>, EngineError> {
        let Some(token) = Token::parse(token) else {
            return Ok(None);
        };
        let tenant = token.tenant();
        let mut conn = self.inner.conn().await?;
        match self.store().keyring().tenant_key(&mut conn, tenant).await {
            Ok(key) => Ok(Some((tenant, key, token))),
            Err(tidings_store::StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn engaged(
        &self,
        tenant: TenantId,
        message: MessageId,
        kind: DeliveryEventKind,
        detail: Option<&str>,
    ) -> Result<(), EngineError> {
        let now = self.now();
        let mut dice = self.dice();
        let mut tx = self.store().worker_tenant(tenant).tx().await?;
        let Some(delivery) = reports::newest_of(&mut tx, message).await? else {
            return Ok(());
        };
        let Some(reported) = reports::lock(&mut tx, delivery).await? else {
            return Ok(());
        };
        let kind = match kind {
            DeliveryEventKind::Opened if too_soon(reported.sent_at, now) => DeliveryEventKind::MachineOpened,
            other => other,
        };
        let moment = now.as_second() / SAME_REPORT_SECONDS;
        let report = NewReport {
            id: DeliveryEventId(dice.uuid(now)),
            connection: OURSELVES,
            dedupe_key: format!(
                "{}:{message}:{moment}:{}",
                kind.as_str(),
                detail.unwrap_or_default()
            ),
            delivery: Some(reported.delivery),
            message: Some(message),
            kind,
            provenance: Provenance::Webhook,
            bounce_class: None,
            error_category: None,
            code: None,
            detail: detail.map(str::to_owned),
            occurred_at: now,
        };
        track::note(&self.inner, &mut tx, reported, &report, &mut dice, now).await?;
        tx.commit().await?;
        Ok(())
    }
}

fn is_machine(user_agent: &str) -> bool {
    let agent = user_agent.to_ascii_lowercase();
    agent.is_empty() || agent == "mozilla/5.0" || MACHINE_AGENTS.iter().any(|part| agent.contains(part))
}

fn too_soon(sent_at: Option<Timestamp>, now: Timestamp) -> bool {
    sent_at.is_some_and(|sent| now.as_second() - sent.as_second() < MACHINE_OPEN_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_told_apart() {
        for (agent, machine) in [
            ("", true),
            ("Mozilla/5.0", true),
            (
                "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
                true,
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15",
                false,
            ),
        ] {
            assert_eq!(is_machine(agent), machine, "{agent}");
        }
    }
}
