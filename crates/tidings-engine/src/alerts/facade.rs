//! Alerts as people see them: listed with what was told, taken on, tried.

use super::raise;
use crate::engine::Engine;
use crate::error::EngineError;
use serde::Serialize;
use std::collections::HashMap;
use tidings_core::alert::{AlertKey, AlertRule};
use tidings_core::{AlertId, TenantId};
use tidings_store::alerts::notifications::{self, Notification};
use tidings_store::alerts::{self, Alert, AlertState, NewAlert};
use tidings_store::audit::{self, AuditEntry};
use tidings_store::{Page, TenantTx};

/// Tests of the notifiers that may be open at once.
const TESTS_OPEN: usize = 5;

/// An alert and what was told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlertTold {
    /// The alert.
    #[serde(flatten)]
    pub alert: Alert,
    /// What each notifier was told.
    pub notifications: Vec<Notification>,
}

impl Engine {
    /// A tenant's alerts, newest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn alerts(
        &self,
        tenant: TenantId,
        state: Option<AlertState>,
        before: Option<AlertId>,
        limit: u32,
    ) -> Result<Page<AlertTold, AlertId>, EngineError> {
        let mut tx = self.store().tenant(tenant).tx().await?;
        let page = alerts::list(&mut tx, state, before, limit).await?;
        let items = with_notifications(&mut tx, page.items).await?;
        Ok(Page {
            items,
            next: page.next,
        })
    }

    /// Notes that somebody took an alert on. The first one stays.
    ///
    /// # Errors
    /// When the tenant has no such alert.
    pub async fn acknowledge_alert(
        &self,
        tenant: TenantId,
        id: AlertId,
        by: &str,
    ) -> Result<AlertTold, EngineError> {
        let mut tx = self.store().tenant(tenant).tx().await?;
        let alert = alerts::acknowledge(&mut tx, id, by, self.now()).await?;
        let told = with_notifications(&mut tx, vec![alert]).await?;
        tx.commit().await?;
        told.into_iter().next().ok_or_else(|| EngineError::NotFound {
            what: "alert",
            id: id.to_string(),
        })
    }

    /// Raises an alert that means nothing, to try the notifiers; it is over by itself soon. Written down in the audit log
    /// under the actor.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] while five of them are open: each may wake somebody.
    pub async fn test_alert(&self, tenant: TenantId, actor: &str) -> Result<AlertTold, EngineError> {
        let inner = &self.inner;
        let now = inner.now();
        let mut tx = inner.store.worker_tenant(tenant).tx().await?;
        let open = alerts::open(&mut tx, &[tenant]).await?;
        if open.iter().filter(|alert| alert.rule == AlertRule::Test).count() >= TESTS_OPEN {
            return Err(EngineError::Conflict {
                problem: format!("{TESTS_OPEN} tests are open; each is over a few minutes after it began"),
            });
        }
        let new = NewAlert {
            tenant,
            id: AlertId(inner.dice().uuid(now)),
            // Each test is an alert of its own.
            key: AlertKey::new(AlertRule::Test, now.to_string()),
            detail: "this is a test of the notifiers; nothing is wrong".to_owned(),
        };
        let entry = AuditEntry {
            tenant,
            actor: actor.to_owned(),
            action: "alerts.tested".to_owned(),
            object: new.id.to_string(),
            contact: None,
            detail: None,
        };
        let raised = raise::open(&mut tx, &[new], now).await?;
        let told = with_notifications(&mut tx, raised).await?;
        let keyring = tx.keyring();
        audit::append(&mut tx, &keyring, entry, now).await?;
        tx.commit().await?;
        for one in &told {
            raise::count(one.alert.rule);
        }
        told.into_iter().next().ok_or_else(|| EngineError::Conflict {
            problem: "a test of this very moment is open already; look at the alerts".to_owned(),
        })
    }
}

async fn with_notifications(tx: &mut TenantTx, alerts: Vec<Alert>) -> Result<Vec<AlertTold>, EngineError> {
    let ids: Vec<AlertId> = alerts.iter().map(|alert| alert.id).collect();
    let tenant = tx.tenant();
    let mut by_alert: HashMap<AlertId, Vec<Notification>> = HashMap::new();
    for one in notifications::of(tx, tenant, &ids).await? {
        by_alert.entry(one.alert).or_default().push(one);
    }
    let told = alerts.into_iter().map(|alert| AlertTold {
        notifications: by_alert.remove(&alert.id).unwrap_or_default(),
        alert,
    });
    Ok(told.collect())
}
