//! The companion: its parts put together, started and stopped.

use crate::browser::{Browser, BrowserOptions};
use crate::journal::JournalError;
use crate::last_message::LastMessage;
use crate::ledger::Ledger;
use crate::outbox::{Item, Outbox};
use crate::page::judge::Look;
use crate::webdriver::DriverError;
use crate::{api, poster, reader};
use secrecy::{ExposeSecret, SecretString};
use std::fs::{File, OpenOptions, TryLockError};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidings_core::redact::Private;
use tidings_core::{Clock, Dice};
use tidings_providers::egress::{Egress, EgressPolicy, EgressUrlError};
use tidings_providers::signature::standard;
use tidings_providers::whatsapp_web::wire::{SessionState, StateReport};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a stopping companion waits for a message that is being written: longer than one may take.
const DRAIN: Duration = Duration::from_secs(150);

/// Where reports and messages go.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The connection's webhook URL.
    pub url: String,
    /// The connection's `webhook_secret` (`whsec_...`).
    pub secret: SecretString,
}

/// How to run one account.
#[derive(Debug)]
pub struct Options {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What calls must bring along.
    pub token: SecretString,
    /// Where everything of the account is kept; one companion at a time.
    pub folder: PathBuf,
    /// The browser; its profile is in `folder`.
    pub browser: BrowserOptions,
    /// Where reports and messages go; without one nobody hears of replies and STOP.
    pub webhook: Option<Webhook>,
    /// How often the page is looked at.
    pub look_every: Duration,
    /// How long a call waits for its message; after that it is told that the message is being sent.
    pub answer_within: Duration,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Seed of the dice that draw distances.
    pub seed: u64,
}

/// Why the companion does not start.
#[derive(Debug, thiserror::Error)]
pub enum CompanionError {
    /// The folder cannot be used.
    #[error("{folder}: {problem}", folder = folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        problem: std::io::Error,
    },
    /// Another companion has the account.
    #[error("{folder}: another companion runs on this folder; stop it, or choose another folder for another account", folder = folder.display())]
    Taken {
        /// The folder.
        folder: PathBuf,
    },
    /// What it remembers cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The port cannot be had.
    #[error("cannot listen at {address}: {problem}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        problem: std::io::Error,
    },
    /// The webhook's URL cannot be called.
    #[error("the webhook's URL: {0}")]
    WebhookUrl(#[from] EgressUrlError),
    /// The webhook's secret is none.
    #[error("the webhook's secret must be whsec_ and base64, the same as the connection's webhook_secret")]
    WebhookSecret,
    /// The token is too weak or holds blanks.
    #[error("the token must be 16 to 512 visible characters; let `tidings whatsapp-web serve` make the file")]
    Token,
    /// The HTTP client cannot be built.
    #[error("{0}")]
    Client(String),
}

/// What all parts share.
#[derive(Debug)]
pub struct Shared {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Draws distances.
    pub dice: Mutex<Dice>,
    /// The browser; whoever holds it has the page for itself.
    pub browser: tokio::sync::Mutex<Browser>,
    /// Tasks that end before the browser does.
    pub tracker: TaskTracker,
    /// Set when the companion ends.
    pub ended: CancellationToken,
    /// Rung when something waits in the outbox.
    pub posting: Notify,
    desk: Mutex<Desk>,
    outbox: Mutex<Outbox>,
    seen: Mutex<Seen>,
    state: watch::Sender<SessionState>,
    has_webhook: bool,
}

/// What is known of references, and which one is being written.
#[derive(Debug)]
pub struct Desk {
    /// The ledger.
    pub ledger: Ledger,
    /// The message that was sent last.
    pub last_message: LastMessage,
    /// The reference that is being written.
    pub under_way: Option<String>,
}

/// What the last look at the page brought.
#[derive(Debug)]
struct Seen {
    state: SessionState,
    detail: Option<String>,
    qr: Option<Private<String>>,
    account: Option<Private<String>>,
}

impl Shared {
    /// The desk.
    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outbox.
    pub fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts something into the outbox, where there is a webhook to post it to. What cannot be written is read again later.
    pub fn put(&self, item: Item) {
        if !self.has_webhook {
            return;
        }
        match self.outbox().put(item) {
            Ok(_) => self.posting.notify_one(),
            Err(error) => tracing::error!(%error, "the outbox cannot be written"),
        }
    }

    /// Notes what the page shows.
    pub fn note(&self, look: &Look) {
        let (state, detail) = look.state();
        let mut seen = self.seen();
        if seen.state != state {
            tracing::info!(%state, "the session");
        }
        seen.state = state;
        self.tell(state);
        seen.detail = detail.map(str::to_owned);
        seen.qr = look.qr.clone().filter(|_| state == SessionState::Pairing);
        if let Some(account) = &look.account {
            seen.account = Some(Private::new(format!("+{}", account.expose())));
        }
    }

    /// Notes that there is no page to look at.
    pub fn note_state(&self, state: SessionState, detail: Option<String>) {
        let mut seen = self.seen();
        seen.state = state;
        self.tell(state);
        seen.detail = detail;
        seen.qr = None;
    }

    /// Tells whoever waits for a state, when it is another one.
    fn tell(&self, state: SessionState) {
        self.state
            .send_if_modified(|told| std::mem::replace(told, state) != state);
    }

    /// Looks at a failure of the driver: where the session is gone, that is noted, and the next look starts anew.
    pub async fn lost(&self, browser: &mut Browser, error: &DriverError) {
        if error.is_gone() {
            self.note_state(SessionState::Starting, Some(error.to_string()));
        }
        browser.failed(error).await;
    }

    /// The pairing code.
    pub fn qr(&self) -> Option<Private<String>> {
        self.seen().qr.clone()
    }

    /// The paired number.
    pub fn account(&self) -> Option<Private<String>> {
        self.seen().account.clone()
    }

    /// How everything stands.
    pub fn report(&self) -> StateReport {
        let wait = crate::courier::next_send(self, self.clock.now());
        let seen = self.seen();
        StateReport {
            state: seen.state,
            detail: seen.detail.clone(),
            account: seen.account.clone(),
            next_send_s: wait.as_millis().div_ceil(1_000) as u64,
            outbox: self.outbox().len(),
            webhook: self.has_webhook,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running companion.
#[derive(Debug)]
pub struct Companion {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Held as long as it runs.
    _lock: File,
}

impl Companion {
    /// Starts it. The browser is started by the first look at the page, not here.
    pub async fn start(options: Options) -> Result<Self, CompanionError> {
        let token = options.token.expose_secret();
        if !(16..=512).contains(&token.len()) || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CompanionError::Token);
        }
        let folder = options.folder.clone();
        let lock = claim(&folder)?;
        // The operator names the driver and the webhook, so both may be on this machine or in its network.
        let egress = Egress::new(EgressPolicy {
            allow_loopback: true,
            allow_private: true,
            ..EgressPolicy::default()
        })
        .map_err(|error| CompanionError::Client(error.to_string()))?;
        let webhook = match &options.webhook {
            Some(webhook) if !standard::is_secret(webhook.secret.expose_secret()) => {
                return Err(CompanionError::WebhookSecret);
            }
            Some(webhook) => Some((webhook.clone(), egress.url(&webhook.url)?)),
            None => None,
        };
        let now = options.clock.now();
        let browser = Browser::new(options.browser, folder.join("profile"), egress.clone());
        let shared = Arc::new(Shared {
            dice: Mutex::new(Dice::from_seed(options.seed)),
            browser: tokio::sync::Mutex::new(browser),
            tracker: TaskTracker::new(),
            ended: CancellationToken::new(),
            posting: Notify::new(),
            desk: Mutex::new(Desk {
                ledger: Ledger::open(&folder.join("ledger.jsonl"), now)?,
                last_message: LastMessage::open(&folder.join("last_message.jsonl"))?,
                under_way: None,
            }),
            outbox: Mutex::new(Outbox::open(&folder)?),
            seen: Mutex::new(Seen {
                state: SessionState::Starting,
                detail: None,
                qr: None,
                account: None,
            }),
            state: watch::Sender::new(SessionState::Starting),
            has_webhook: webhook.is_some(),
            clock: options.clock,
        });
        let wrong = |problem| CompanionError::Listen {
            address: options.listen,
            problem,
        };
        let listener = TcpListener::bind(options.listen).await.map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        let door = api::Door::new(shared.clone(), &options.token, options.answer_within);
        shared
            .tracker
            .spawn(api::serve(listener, door, shared.ended.clone()));
        shared
            .tracker
            .spawn(reader::run(shared.clone(), options.look_every));
        if let Some((webhook, url)) = webhook {
            shared
                .tracker
                .spawn(poster::run(shared.clone(), webhook, url, egress));
        }
        Ok(Self {
            shared,
            address,
            _lock: lock,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The session's state as it changes.
    pub fn states(&self) -> watch::Receiver<SessionState> {
        self.shared.state.subscribe()
    }

    /// Ends it: takes nothing more, finishes the message that is being written, and closes the browser.
    pub async fn stop(self) {
        self.shared.ended.cancel();
        self.shared.tracker.close();
        if tokio::time::timeout(DRAIN, self.shared.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!("a task did not end in time; the browser is closed under it");
        }
        self.shared.browser.lock().await.end().await;
    }
}

/// Makes the folder, for its owner alone, and claims it for this process.
fn claim(folder: &Path) -> Result<File, CompanionError> {
    let wrong = |problem| CompanionError::Folder {
        folder: folder.to_owned(),
        problem,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(wrong)?;
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(folder.join("lock"))
        .map_err(wrong)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(CompanionError::Taken {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(problem)) => Err(wrong(problem)),
    }
}
