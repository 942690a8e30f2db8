//! What a batch needs of its tenants: policy, brand, keys, links, connections. Loaded once a batch.

use crate::engine::Inner;
use crate::error::EngineError;
use crate::links::Links;
use std::collections::{BTreeSet, HashMap};
use tidings_core::decide::Policy;
use tidings_core::{Channel, TenantId};
use tidings_render::Brand;
use tidings_store::messages::routes::{self, RouteRow};
use tidings_store::tenants::{self, Tenant, TenantStatus};
use tidings_store::{Conn, TenantKey};

/// One tenant as a batch sees it.
#[derive(Debug)]
pub(crate) struct TenantView {
    pub tenant: Tenant,
    pub brand: Brand,
    pub key: TenantKey,
    pub links: Links,
    pub routes: Vec<RouteRow>,
}

impl TenantView {
    /// The policy of its rules.
    pub fn policy(&self) -> &Policy {
        &self.tenant.policy
    }

    /// Whether it sends.
    pub fn is_active(&self) -> bool {
        self.tenant.status == TenantStatus::Active
    }

    /// Channels with an enabled connection.
    pub fn connected(&self) -> Vec<Channel> {
        self.routes
            .iter()
            .map(|route| route.channel)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }
}

/// Loads the tenants of a batch; unknown ones are left out.
pub(crate) async fn load(
    inner: &Inner,
    conn: &mut Conn,
    wanted: impl IntoIterator<Item = TenantId>,
) -> Result<HashMap<TenantId, TenantView>, EngineError> {
    let wanted: Vec<TenantId> = wanted.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let tenants = tenants::load(conn, &wanted).await?;
    let known: Vec<TenantId> = tenants.keys().copied().collect();
    let mut keys = inner.store.keyring().tenant_keys(conn, &known).await?;
    let mut connections: HashMap<TenantId, Vec<RouteRow>> = HashMap::new();
    for route in routes::load(conn, &known).await? {
        connections.entry(route.tenant).or_default().push(route);
    }
    let mut views = HashMap::with_capacity(tenants.len());
    for (id, mut tenant) in tenants {
        let switched_off: Vec<_> = tenant.settings.disabled_types().collect();
        let policy = &mut tenant.policy;
        policy.disabled_types.extend(switched_off);
        policy.disabled_types.extend(inner.disabled_types.iter().cloned());
        policy
            .approval_types
            .extend(std::mem::take(&mut tenant.approval_campaign_types));
        let Some(key) = keys.remove(&id) else { continue };
        let view = TenantView {
            brand: brand(&tenant),
            links: Links::new(&inner.base, &key)?,
            routes: connections.remove(&id).unwrap_or_default(),
            key,
            tenant,
        };
        views.insert(id, view);
    }
    Ok(views)
}

fn brand(tenant: &Tenant) -> Brand {
    let settings = &tenant.settings;
    let default = Brand::default();
    Brand {
        name: tenant.name.clone(),
        color: settings
            .branding
            .accent_colour
            .as_deref()
            .and_then(|text| text.to_owned().try_into().ok())
            .unwrap_or(default.color),
        logo_url: settings.branding.logo_url.clone(),
        website_url: settings.branding.website_url.clone(),
        support_email: settings.support_email.clone(),
        support_phone: None,
        postal_address: settings.postal_address.clone(),
    }
}
