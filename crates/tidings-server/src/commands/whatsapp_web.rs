//! `tidings whatsapp-web`: the companion of a WhatsApp Web connection, and the code that pairs it.

use crate::cli::whatsapp_web::{PairWhatsappWeb, ServeWhatsappWeb};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::failure::Failure;
use crate::node;
use anyhow::{Context, Result, bail};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidings_providers::egress::{Egress, EgressPolicy, EgressRequest, EgressResponse, EgressUrl};
use tidings_providers::whatsapp_web::wire::{SessionState, StateReport};
use tidings_whatsapp_web::{BrowserOptions, Companion, Driver, Limits, Options, RISK, Webhook};
use tokio::time::Instant;

/// A call of the engine ends after 15 s: it is answered before, and asks again later.
const ANSWER_WITHIN: Duration = Duration::from_secs(12);

/// How often `pair` asks.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Runs the companion until SIGTERM or SIGINT.
pub async fn serve(config: &Config, options: &ServeWhatsappWeb, json: bool) -> Result<()> {
    if !options.i_accept_the_risk {
        bail!(Failure::Refused(format!(
            "the companion does not start unless you accept the risk:\n\n{RISK}\n\nStart it with --i-accept-the-risk if you do"
        )));
    }
    eprintln!("{RISK}\n");
    let token_file = match &options.token_file {
        Some(file) => file.clone(),
        None => options.profile.join("token"),
    };
    let companion = Companion::start(Options {
        listen: options.listen,
        token: token(&token_file)?,
        folder: absolute(&options.profile)?,
        browser: browser(options)?,
        webhook: webhook(options)?,
        look_every: Duration::from_secs(options.look_every),
        answer_within: ANSWER_WITHIN,
        clock: Arc::new(SystemClock),
        seed: config.dice_seed()?,
    })
    .await
    .context("the companion does not start")?;
    let say = async {
        tell(&companion, &token_file, options, json);
        let mut states = companion.states();
        while states.changed().await.is_ok() {
            let state = *states.borrow_and_update();
            if !json {
                println!("the session is {state}");
            }
        }
    };
    // Whoever has read where it listens may tell it to stop: the signals are listened for before.
    tokio::select! {
        biased;
        stopped = node::until_told_to_stop() => stopped?,
        () = say => {}
    }
    companion.stop().await;
    Ok(())
}

/// Says what goes into the connection's settings.
fn tell(companion: &Companion, token_file: &Path, options: &ServeWhatsappWeb, json: bool) {
    let url = format!("http://{}", companion.address());
    if json {
        println!("{}", json!({ "url": url, "token_file": token_file }));
    } else {
        println!("base_url = \"{url}\", token in {}", token_file.display());
        println!("Tidings must be allowed to call this machine: TIDINGS_ALLOW_LOOPBACK=true");
        if options.webhook_url.is_none() {
            println!("No webhook: nobody hears of replies, and of STOP");
        }
    }
}

fn browser(options: &ServeWhatsappWeb) -> Result<BrowserOptions> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if root {
        eprintln!(
            "warning: root cannot give the browser its sandbox; run the companion as a user of its own"
        );
    }
    Ok(BrowserOptions {
        driver: match &options.driver_url {
            Some(url) => Driver::Url(url.clone()),
            None => Driver::Program(options.driver.clone()),
        },
        program: options.browser.as_deref().map(absolute).transpose()?,
        page_url: options.page_url.clone(),
        headless: !options.window,
        no_sandbox: root,
        limits: Limits::default(),
        flags: options.browser_flag.clone(),
    })
}

/// The browser has another working folder.
fn absolute(path: &Path) -> Result<std::path::PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))
}

fn webhook(options: &ServeWhatsappWeb) -> Result<Option<Webhook>> {
    let (Some(url), Some(file)) = (&options.webhook_url, &options.webhook_secret_file) else {
        return Ok(None);
    };
    Ok(Some(Webhook {
        url: url.clone(),
        secret: secret_in(file)?,
    }))
}

/// The token in the file; made, for its owner alone, where there is none.
fn token(file: &Path) -> Result<SecretString> {
    if file.exists() {
        return secret_in(file);
    }
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    let mut bytes = [0u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system gave no random bytes"))?;
    let text = hex::encode(bytes);
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut made| made.write_all(text.as_bytes()).and_then(|()| made.sync_all()))
        .with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(SecretString::from(text))
}

/// A secret in a file that nobody else can read.
fn secret_in(file: &Path) -> Result<SecretString> {
    let about = || format!("{} cannot be read", file.display());
    let mode = std::fs::metadata(file).with_context(about)?.mode();
    if mode & 0o077 != 0 {
        bail!(Failure::Refused(format!(
            "{} may be read by others; chmod 600 it",
            file.display()
        )));
    }
    let text = std::fs::read_to_string(file).with_context(about)?;
    Ok(SecretString::from(text.trim().to_owned()))
}

/// Asks a companion.
struct Asking {
    egress: Egress,
    base: EgressUrl,
    bearer: SecretString,
}

impl Asking {
    fn new(options: &PairWhatsappWeb) -> Result<Self> {
        let egress =
            Egress::new(EgressPolicy::for_stand_ins()).context("the HTTP client could not be built")?;
        let base = egress
            .url(&options.url)
            .map_err(|error| Failure::Usage(format!("--url: {error}")))?;
        let token = secret_in(&options.token_file)?;
        Ok(Self {
            egress,
            base,
            bearer: SecretString::from(format!("Bearer {}", token.expose_secret())),
        })
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<EgressResponse> {
        let request = EgressRequest::get(self.base.join(&[path], query))
            .secret_header("authorization", self.bearer.expose_secret())?;
        let answer = self
            .egress
            .call(request)
            .await
            .with_context(|| format!("no companion answers at {}", self.base.as_url()))?;
        if answer.status == 401 {
            bail!(Failure::Refused(
                "the companion does not know this token; name the token file it was started with".to_owned()
            ));
        }
        Ok(answer)
    }

    async fn state(&self) -> Result<StateReport> {
        let answer = self.get("state", &[]).await?;
        serde_json::from_slice(&answer.body)
            .with_context(|| format!("what answers at {} is no companion", self.base.as_url()))
    }
}

/// Shows the code, each new one again, until the session is there.
pub async fn pair(options: &PairWhatsappWeb, json: bool) -> Result<()> {
    let asking = Asking::new(options)?;
    let until = Instant::now() + Duration::from_secs(options.within);
    let mut shown = String::new();
    loop {
        let report = asking.state().await?;
        match report.state {
            SessionState::Ready => {
                if json {
                    println!("{}", json!({ "state": report.state }));
                } else {
                    println!("paired");
                }
                return Ok(());
            }
            SessionState::Pairing => {
                let answer = asking.get("qr", &[("form", "text")]).await?;
                let code = String::from_utf8_lossy(&answer.body).into_owned();
                if answer.status == 200 && code != shown {
                    let said = "On the phone: WhatsApp, Settings, Linked devices, Link a device";
                    eprintln!("{code}\n{said}");
                    shown = code;
                }
            }
            SessionState::Starting | SessionState::Disconnected | SessionState::Blocked => {}
        }
        if Instant::now() >= until {
            let detail = report
                .detail
                .map(|detail| format!(": {detail}"))
                .unwrap_or_default();
            bail!(
                "not paired within {} s; the session is {}{detail}",
                options.within,
                report.state
            );
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
