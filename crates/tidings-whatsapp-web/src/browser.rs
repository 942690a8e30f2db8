//! The browser: started when it is needed, and again when it is gone.

use crate::chromedriver::{Chromedriver, StartError};
use crate::page::{Limits, Page};
use crate::webdriver::{DriverError, Session};
use serde_json::json;
use std::collections::HashSet;
use std::path::PathBuf;
use tidings_providers::egress::{Egress, EgressUrlError};
use tokio::time::Instant;
use url::Url;

/// What a browser that is driven is started with. It is told to speak English, because dialogs are known by their words.
const FLAGS: [&str; 11] = [
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    "--disable-quic",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--lang=en-US",
    "--window-size=1280,960",
];

/// Which driver.
#[derive(Clone, Debug)]
pub enum Driver {
    /// This program is started.
    Program(PathBuf),
    /// One listens at this URL, on this machine.
    Url(String),
}

/// How the browser is started.
#[derive(Clone, Debug)]
pub struct BrowserOptions {
    /// Its driver.
    pub driver: Driver,
    /// The browser; none means the one the driver knows.
    pub program: Option<PathBuf>,
    /// The page.
    pub page_url: Url,
    /// Without a window.
    pub headless: bool,
    /// Without the sandbox around the page; root cannot have it.
    pub no_sandbox: bool,
    /// How long the page may take.
    pub limits: Limits,
    /// Further flags.
    pub flags: Vec<String>,
}

/// Why there is no browser.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// Its driver does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its driver says no, or nothing.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The driver's URL is none.
    #[error("the driver's URL: {0}")]
    Url(#[from] EgressUrlError),
}

/// A chat that was opened, and what is waited for in it.
#[derive(Debug)]
pub struct OpenChat {
    /// The messages that were in it when it was opened.
    pub before: HashSet<String>,
    /// The number it was opened by, digits only.
    pub number: Option<String>,
    /// A message of ours whose mark is followed.
    pub followed: Option<Followed>,
}

/// A message of ours whose mark is followed while its chat is open.
#[derive(Debug)]
pub struct Followed {
    /// Its reference.
    pub reference: String,
    /// Its text, by which it is known.
    pub text: String,
    /// The messages that were there before it.
    pub before: HashSet<String>,
    /// Until then no other chat is opened.
    pub until: Instant,
}

/// The browser, perhaps not yet running.
#[derive(Debug)]
pub struct Browser {
    options: BrowserOptions,
    profile: PathBuf,
    egress: Egress,
    driver: Option<Chromedriver>,
    page: Option<Page>,
    /// The chat that is open.
    pub chat: Option<OpenChat>,
}

impl Browser {
    /// How long the page may take.
    pub fn limits(&self) -> Limits {
        self.options.limits
    }

    /// A browser that is not yet started; its profile, and with it the pairing, is kept in a folder. `egress` must reach this
    /// machine.
    pub fn new(options: BrowserOptions, profile: PathBuf, egress: Egress) -> Self {
        Self {
            options,
            profile,
            egress,
            driver: None,
            page: None,
            chat: None,
        }
    }

    /// The page, in a running browser.
    pub async fn page(&mut self) -> Result<Page, BrowserError> {
        if let Some(page) = &self.page {
            return Ok(page.clone());
        }
        let url = match &self.options.driver {
            Driver::Url(url) => url.clone(),
            Driver::Program(program) => {
                let mut running = self.driver.take();
                let driver = match running.take_if(Chromedriver::is_running) {
                    Some(driver) => driver,
                    None => Chromedriver::start(program, &self.profile.with_extension("driver")).await?,
                };
                self.driver.insert(driver).url()
            }
        };
        let base = self.egress.url(&url)?;
        let session = Session::new(&self.egress, &base, self.capabilities()).await?;
        let page = Page::new(session, self.options.page_url.clone(), self.options.limits);
        self.page = Some(page.clone());
        page.load().await?;
        Ok(page)
    }

    /// Looks at a failure: where the session is gone, the next one starts anew.
    pub async fn failed(&mut self, error: &DriverError) {
        if !error.is_gone() {
            return;
        }
        self.chat = None;
        if let Some(page) = self.page.take() {
            // It may still run and hold the profile.
            if let Err(error) = page.session().delete().await {
                tracing::debug!(%error, "the lost browser session could not be ended");
            }
        }
        // A driver that hangs is of no use to the next session.
        self.driver = None;
    }

    /// Ends the browser and its driver.
    pub async fn end(&mut self) {
        self.chat = None;
        if let Some(page) = self.page.take()
            && let Err(error) = page.session().delete().await
        {
            tracing::warn!(%error, "the browser session could not be ended");
        }
        self.driver = None;
    }

    fn capabilities(&self) -> serde_json::Value {
        let options = &self.options;
        let mut flags: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
        flags.push(format!("--user-data-dir={}", self.profile.display()));
        flags.extend(options.headless.then(|| "--headless=new".to_owned()));
        flags.extend(options.no_sandbox.then(|| "--no-sandbox".to_owned()));
        flags.extend(options.flags.iter().cloned());
        let mut chrome = json!({ "args": flags, "prefs": { "intl.accept_languages": "en-US,en" } });
        if let Some(program) = &options.program {
            chrome["binary"] = json!(program);
        }
        // A page that asks whether it may be left would stop everything.
        json!({
            "browserName": "chrome", "goog:chromeOptions": chrome, "unhandledPromptBehavior": "accept"
        })
    }
}
