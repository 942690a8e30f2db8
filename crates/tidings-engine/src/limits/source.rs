//! Where buckets are kept: in the database, or, for a process by itself, in its memory.

use crate::engine::Inner;
use crate::error::EngineError;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use tidings_core::limit::{Bucket, Lease, Pace, Wish};
use tidings_core::{ConnectionId, TenantId};
use tidings_store::limits;

/// The buckets.
#[derive(Debug)]
pub(crate) struct Source {
    in_process: AtomicBool,
    own: Mutex<HashMap<ConnectionId, Bucket>>,
}

impl Source {
    pub(super) fn new() -> Self {
        Self {
            in_process: AtomicBool::new(false),
            own: Mutex::default(),
        }
    }

    /// Nobody else makes calls: a simulation.
    pub fn keep_in_process(&self) {
        self.in_process.store(true, Ordering::Relaxed);
    }

    pub(super) async fn take(
        &self,
        inner: &Inner,
        wishes: &[Wish],
        now_us: i64,
    ) -> Result<HashMap<ConnectionId, Lease>, EngineError> {
        if self.in_process.load(Ordering::Relaxed) {
            let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
            let mut one = |wish: &Wish| {
                let bucket = own.entry(wish.connection).or_default();
                (wish.connection, bucket.take(wish.pace, now_us, wish.want))
            };
            return Ok(wishes.iter().map(&mut one).collect());
        }
        let mut conn = inner.conn().await?;
        Ok(limits::take(&mut conn, wishes, now_us).await?)
    }

    pub(super) async fn refused(
        &self,
        inner: &Inner,
        tenant: TenantId,
        connection: ConnectionId,
        pace: Pace,
        now_us: i64,
        quiet_us: i64,
    ) -> Result<(), EngineError> {
        if self.in_process.load(Ordering::Relaxed) {
            let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
            own.entry(connection).or_default().refused(pace, now_us, quiet_us);
            return Ok(());
        }
        let mut conn = inner.conn().await?;
        limits::refused(&mut conn, tenant, connection, pace, now_us, quiet_us).await?;
        Ok(())
    }
}
