//! Wire-level stand-ins of every provider: one process that answers as SendGrid, Amazon SES, Resend, Twilio, WhatsApp,
//! PagerDuty, Slack, a mail server and Tidings' own sandbox do, keeps a ledger of what it accepted, misbehaves when it is
//! told to, and reports afterwards under the vendors' signatures.
//!
//! `docs/stand-ins.md` says how to point anything at it. Tests start one in their own process with [`StandIn::start`].

mod account;
mod chance;
mod control;
mod door;
mod fault;
mod http;
mod ledger;
mod multipart;
mod options;
mod serve;
mod smtp;
mod stand_in;
mod take;
mod vendor;
mod webhook;
mod world;

pub use account::{Account, DEFAULT as DEFAULT_ACCOUNT, Secrets};
pub use fault::{Fault, Rule, RuleState};
pub use ledger::{Entry, Ledger, LedgerError, Query, Summary};
pub use options::Options;
pub use stand_in::{StandIn, StartError};
pub use vendor::Vendor;
pub use webhook::{Event, Inbound, Reported, Step};
