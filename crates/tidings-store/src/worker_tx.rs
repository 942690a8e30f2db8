//! Connections and transactions of the workers, who see every tenant.

use crate::{Result, Store};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres, Transaction};
use std::ops::{Deref, DerefMut};

/// A database connection, for functions that take one.
pub type Conn = PgConnection;

/// A connection of the workers' pool, outside a transaction.
#[derive(Debug)]
pub struct WorkerConn(PoolConnection<Postgres>);

/// A transaction of the workers' pool. Dropping it rolls back.
#[derive(Debug)]
pub struct WorkerTx(Transaction<'static, Postgres>);

impl Store {
    /// A connection of the workers' pool, for reads and single statements.
    pub async fn worker_conn(&self) -> Result<WorkerConn> {
        Ok(WorkerConn(self.worker().acquire().await?))
    }

    /// Begins a transaction of the workers' pool.
    pub async fn worker_tx(&self) -> Result<WorkerTx> {
        Ok(WorkerTx(self.worker().begin().await?))
    }
}

impl WorkerTx {
    /// Makes what was done durable.
    pub async fn commit(self) -> Result<()> {
        Ok(self.0.commit().await?)
    }

    /// Undoes what was done.
    pub async fn rollback(self) -> Result<()> {
        Ok(self.0.rollback().await?)
    }
}

impl Deref for WorkerConn {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for WorkerConn {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

impl Deref for WorkerTx {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for WorkerTx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}
