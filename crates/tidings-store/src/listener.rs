//! Waking idle workers: LISTEN on a connection of its own.

use crate::{Result, Store};
use sqlx::postgres::PgListener;

/// Hears notifications of one channel.
#[derive(Debug)]
pub struct Listener(PgListener);

impl Store {
    /// Listens on a channel, past any pooler.
    pub async fn listen(&self, channel: &str) -> Result<Listener> {
        let pool = sqlx::postgres::PgPoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .connect_lazy_with(self.direct_options().clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(channel).await?;
        Ok(Listener(listener))
    }
}

impl Listener {
    /// Waits for a notification, or for the connection to come back after it was lost: then something may have been
    /// missed. Fails when it cannot come back.
    pub async fn wait(&mut self) -> Result<()> {
        self.0.try_recv().await?;
        Ok(())
    }
}
