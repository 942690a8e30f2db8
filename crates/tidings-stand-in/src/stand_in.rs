//! A running stand-in, for whoever started it.

use crate::account::Account;
use crate::control::{self, Doors};
use crate::door::Door;
use crate::fault::{Rule, RuleState};
use crate::ledger::{Ledger, LedgerError};
use crate::options::Options;
use crate::vendor::Vendor;
use crate::webhook::{Inbound, Outbox, Reported};
use crate::world::World;
use crate::{serve, smtp};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tidings_providers::{ConfigError, Egress, EgressPolicy};

/// Why a stand-in does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port cannot be had.
    #[error("{address} cannot be listened on: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The ledger cannot be kept.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Webhooks cannot leave.
    #[error(transparent)]
    Egress(#[from] ConfigError),
}

/// A running stand-in. It ends with [`StandIn::stop`], or when this is dropped.
#[derive(Debug)]
pub struct StandIn {
    world: Arc<World>,
    doors: Arc<Doors>,
    address: SocketAddr,
    smtp: SocketAddr,
}

impl StandIn {
    /// Starts.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let ledger = Ledger::open(options.ledger.as_deref(), options.most_entries)?;
        let egress = Egress::new(EgressPolicy {
            // Tidings itself runs on this machine, or beside it.
            allow_private: true,
            ..EgressPolicy::for_stand_ins()
        })?;
        let world = Arc::new(World::new(&options, ledger, Outbox::new(egress)));
        let doors = Arc::new(Doors {
            http: OnceLock::new(),
            smtp: OnceLock::new(),
        });
        let listen = |address| move |source| StartError::Listen { address, source };
        let shared = Arc::clone(&doors);
        let http = Door::open(&world, options.listen, move |world, stream, open| {
            serve::connection(world, Arc::clone(&shared), stream, open)
        })
        .await
        .map_err(listen(options.listen))?;
        let largest = options.largest_mail;
        let mail = Door::open(&world, options.smtp, move |world, stream, open| {
            smtp::connection(world, stream, open, largest)
        })
        .await
        .map_err(listen(options.smtp))?;
        let (address, smtp) = (http.address, mail.address);
        // Both are set once, here.
        let _ = (doors.http.set(http), doors.smtp.set(mail));
        Ok(Self {
            world,
            doors,
            address,
            smtp,
        })
    }

    /// Where it answers over HTTP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL of every vendor: `http://127.0.0.1:...`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What points Tidings at each vendor over HTTP: `{"sendgrid": {"base_url": "http://..."}, ...}`.
    pub fn settings(&self) -> Value {
        control::settings(&self.url())
    }

    /// Where it answers over SMTP.
    pub fn smtp_addr(&self) -> SocketAddr {
        self.smtp
    }

    /// What was accepted.
    pub fn ledger(&self) -> &Ledger {
        &self.world.ledger
    }

    /// The count of everything, as `GET /_ledger/summary` gives it.
    pub fn summary(&self) -> Value {
        control::summary(&self.world)
    }

    /// Waits until so many messages were accepted; returns at once when they were.
    pub async fn wait_for(&self, accepted: u64) {
        let mut count = self.world.ledger.accepted();
        // The sender lives as long as this stand-in.
        let _ = count.wait_for(|count| *count >= accepted).await;
    }

    /// Waits until what became of reports is as wanted.
    pub async fn wait_for_reports(&self, wanted: impl FnMut(&Reported) -> bool) {
        let mut reported = self.world.outbox.reported();
        // The sender lives as long as this stand-in.
        let _ = reported.wait_for(wanted).await;
    }

    /// Puts one rule in the place of those before.
    pub fn fault(&self, rule: Rule) -> Result<(), String> {
        self.faults(vec![rule])
    }

    /// Puts rules in the place of those before; none at all ends every fault.
    pub fn faults(&self, rules: Vec<Rule>) -> Result<(), String> {
        self.world.rules().replace(rules, None)
    }

    /// The rules and how often each struck.
    pub fn rules(&self) -> Vec<RuleState> {
        self.world.rules().list()
    }

    /// Stops listening for a while: over SMTP for that vendor, else over HTTP. Returns once nobody listens.
    pub async fn refuse_for(&self, vendor: Vendor, time: Duration) {
        self.doors.refuse(Some(vendor), time).await;
    }

    /// Sets an account up; tells what a connection must know of it (`webhook_public_key`).
    pub fn account(&self, vendor: Vendor, name: &str, account: Account) -> Result<Value, String> {
        control::set_account(&self.world, vendor, name, account)
    }

    /// Brings a customer's message to an account; tells its id, the tries and the last answer's status.
    pub async fn inbound(&self, vendor: Vendor, account: &str, message: &Inbound) -> Result<Value, String> {
        control::write_as_customer(&self.world, vendor, account, message).await
    }

    /// Ends it: nobody listens any more, and nothing is under way.
    pub async fn stop(self) {
        self.world.end().await;
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.world.ended().cancel();
    }
}
