//! Options of `tidings whatsapp-web`.

use clap::{Args, Subcommand};
use std::path::PathBuf;
use url::Url;

/// WhatsApp through a browser.
#[derive(Debug, Subcommand)]
pub enum WhatsappWeb {
    /// Run the companion of one account: a browser on WhatsApp Web that types what Tidings hands it.
    Serve(Box<ServeWhatsappWeb>),
    /// Show the code that the phone must scan, until it is scanned.
    Pair(PairWhatsappWeb),
}

/// Options of `whatsapp-web serve`.
#[derive(Debug, Args)]
pub struct ServeWhatsappWeb {
    /// Yes: this breaks WhatsApp's terms, and the number may be banned for good.
    #[arg(long)]
    pub i_accept_the_risk: bool,
    /// Everything of the account is kept here: the browser's profile, what was sent, what waits. One companion a folder.
    #[arg(long, value_name = "DIR")]
    pub profile: PathBuf,
    /// Holds the token that calls must bring along; made where it is missing (default: `token` in the profile's folder).
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Address and port to bind.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8427")]
    pub listen: std::net::SocketAddr,
    /// The connection's webhook URL. Without it nobody hears of replies, and of STOP.
    #[arg(long, value_name = "URL", requires = "webhook_secret_file")]
    pub webhook_url: Option<String>,
    /// Holds the connection's webhook_secret (whsec_...).
    #[arg(long, value_name = "FILE", requires = "webhook_url")]
    pub webhook_secret_file: Option<PathBuf>,
    /// The program that drives the browser.
    #[arg(long, value_name = "PROGRAM", default_value = "chromedriver")]
    pub driver: PathBuf,
    /// A driver that runs already, on this machine, instead.
    #[arg(long, value_name = "URL", conflicts_with = "driver")]
    pub driver_url: Option<String>,
    /// The browser; the driver knows where it is when it is left out.
    #[arg(long, value_name = "PROGRAM")]
    pub browser: Option<PathBuf>,
    /// A further flag of the browser; may be given several times.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub browser_flag: Vec<String>,
    /// Show the browser's window.
    #[arg(long)]
    pub window: bool,
    /// The page; another one is for trying out.
    #[arg(long, value_name = "URL", default_value = "https://web.whatsapp.com")]
    pub page_url: Url,
    /// Look at the page every so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub look_every: u64,
}

/// Options of `whatsapp-web pair`.
#[derive(Debug, Args)]
pub struct PairWhatsappWeb {
    /// Holds the companion's token.
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
    /// Where the companion listens, on this machine.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8427")]
    pub url: String,
    /// Give up after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub within: u64,
}
