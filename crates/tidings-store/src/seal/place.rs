//! Where a sealed value lives.

use tidings_core::{ContactId, TenantId};
use uuid::Uuid;

/// Table, column, tenant and row of a sealed value. It is authenticated with the value: the same ciphertext in another place
/// does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    table: &'static str,
    column: &'static str,
    tenant: TenantId,
    row: Uuid,
}

impl Place {
    /// A column of a row. `row` is the row's own id, or what identifies it within the tenant.
    pub const fn new(table: &'static str, column: &'static str, tenant: TenantId, row: Uuid) -> Self {
        Self {
            table,
            column,
            tenant,
            row,
        }
    }

    pub(super) fn authenticated(&self, header: &[u8]) -> Vec<u8> {
        let mut aad = Vec::with_capacity(header.len() + self.table.len() + self.column.len() + 34);
        aad.extend_from_slice(header);
        // Names hold no NUL, so the parts cannot run into each other.
        for name in [self.table, self.column] {
            aad.extend_from_slice(name.as_bytes());
            aad.push(0);
        }
        aad.extend_from_slice(self.tenant.0.as_bytes());
        aad.extend_from_slice(self.row.as_bytes());
        aad
    }

    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.table, self.column)
    }

    pub(super) const fn wrapped_tenant_key(tenant: TenantId) -> Self {
        Self::new("tenant_keys", "wrapped", tenant, tenant.0)
    }

    pub(super) const fn wrapped_contact_key(tenant: TenantId, contact: ContactId) -> Self {
        Self::new("contact_keys", "wrapped", tenant, contact.0)
    }

    pub(super) const fn master_check() -> Self {
        Self::new(
            "master_key_check",
            "check_sealed",
            TenantId(Uuid::nil()),
            Uuid::nil(),
        )
    }
}
