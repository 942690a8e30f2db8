//! What every connection shares.

use crate::account::{Account, Accounts, DEFAULT};
use crate::fault::Rules;
use crate::ledger::{Entry, Ledger, Query, id_bytes};
use crate::options::Options;
use crate::vendor::{Media, Vendor};
use crate::webhook::Outbox;
use jiff::Timestamp;
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidings_core::Clock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Uploaded files that are kept, and their bytes.
const MOST_MEDIA: usize = 32;
const MOST_MEDIA_BYTES: usize = 64 << 20;

/// Vendor, account and idempotency key.
type KeyInUse = (Vendor, String, String);

#[derive(Debug)]
pub(crate) struct World {
    pub seed: u64,
    pub latency_ms: (u64, u64),
    pub magic: bool,
    pub ledger: Ledger,
    pub outbox: Outbox,
    clock: Arc<dyn Clock>,
    started: Timestamp,
    accounts: Mutex<Accounts>,
    rules: Mutex<Rules>,
    keys_in_use: Mutex<HashSet<KeyInUse>>,
    media: Mutex<VecDeque<(String, Media)>>,
    next_id: AtomicU64,
    in_flight: AtomicU64,
    tasks: TaskTracker,
    ended: CancellationToken,
}

impl World {
    pub(crate) fn new(options: &Options, ledger: Ledger, outbox: Outbox) -> Self {
        Self {
            seed: options.seed,
            latency_ms: options.latency_ms,
            magic: options.magic,
            ledger,
            outbox,
            started: options.clock.now(),
            clock: Arc::clone(&options.clock),
            accounts: Mutex::default(),
            rules: Mutex::new(Rules::new(options.seed)),
            keys_in_use: Mutex::default(),
            media: Mutex::default(),
            next_id: AtomicU64::new(1),
            in_flight: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            ended: CancellationToken::new(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account of that name; where it was not set up, the vendor's default account.
    pub(crate) fn account(&self, vendor: Vendor, name: &str) -> Option<Arc<Account>> {
        let accounts = self.accounts();
        accounts
            .get(vendor, name)
            .or_else(|| accounts.get(vendor, DEFAULT))
    }

    /// An id that no message of this or another start has.
    pub(crate) fn make_id(&self, vendor: Vendor) -> String {
        let nth = self.next_id.fetch_add(1, Ordering::Relaxed);
        vendor.id(&id_bytes(self.seed, self.started, nth))
    }

    /// The latest entry that fits.
    pub(crate) fn find(&self, query: &Query, fits: impl Fn(&Entry) -> bool) -> Option<Arc<Entry>> {
        self.all(query, fits).pop()
    }

    /// Every entry that fits, page after page.
    pub(crate) fn all(&self, query: &Query, fits: impl Fn(&Entry) -> bool) -> Vec<Arc<Entry>> {
        let mut found = Vec::new();
        let mut query = query.clone();
        loop {
            let page = self.ledger.page(&query);
            let Some(last) = page.last() else {
                return found;
            };
            query.after = last.seq;
            found.extend(page.into_iter().filter(|entry| fits(entry)));
        }
    }

    /// Keeps an uploaded file; nothing when it is too large. The oldest give way.
    pub(crate) fn keep_media(&self, media: Media) -> Option<String> {
        if media.bytes.len() > MOST_MEDIA_BYTES {
            return None;
        }
        let nth = self.next_id.fetch_add(1, Ordering::Relaxed);
        let bytes = id_bytes(self.seed, self.started, nth);
        let id = bytes
            .iter()
            .take(15)
            .map(|byte| char::from(b'0' + byte % 10))
            .collect::<String>();
        let mut kept = self.media.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((id.clone(), media));
        let size =
            |kept: &VecDeque<(String, Media)>| kept.iter().map(|(_, media)| media.bytes.len()).sum::<usize>();
        while kept.len() > MOST_MEDIA || size(&kept) > MOST_MEDIA_BYTES {
            kept.pop_front();
        }
        Some(id)
    }

    /// An uploaded file.
    pub(crate) fn media(&self, id: &str) -> Option<Media> {
        let kept = self.media.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .find(|(of, _)| of == id)
            .map(|(_, media)| media.clone())
    }

    /// Holds an idempotency key while a call is under way; nothing when another call holds it.
    pub(crate) fn hold_key(self: &Arc<Self>, vendor: Vendor, account: &str, key: &str) -> Option<HeldKey> {
        let held = (vendor, account.to_owned(), key.to_owned());
        let mut in_use = self.keys_in_use.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.insert(held.clone()).then(|| HeldKey {
            world: Arc::clone(self),
            key: held,
        })
    }

    /// Counts a call as under way until what it gives is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Calls under way.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Sleeps; false when the stand-in ends before.
    pub(crate) async fn sleep(&self, time: Duration) -> bool {
        if time.is_zero() {
            return !self.ended.is_cancelled();
        }
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            () = self.ended.cancelled() => false,
        }
    }

    /// A task that the end waits for.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Is cancelled when the stand-in ends.
    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Tells every task to end, and waits until all have.
    pub(crate) async fn end(&self) {
        self.ended.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// A call under way.
pub(crate) struct InFlight(Arc<World>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An idempotency key that a call holds.
pub(crate) struct HeldKey {
    world: Arc<World>,
    key: KeyInUse,
}

impl Drop for HeldKey {
    fn drop(&mut self) {
        let mut in_use = self
            .world
            .keys_in_use
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        in_use.remove(&self.key);
    }
}
