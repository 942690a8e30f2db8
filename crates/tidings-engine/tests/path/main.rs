//! The path of a message on a real database, with a clock that stands still: no sleeps, everything due is run.
#![expect(clippy::unwrap_used, reason = "tests")]

mod accepting;
mod alert_ends;
mod alerting;
mod campaigns;
mod crashing;
mod dealer;
mod drafting;
mod failing;
mod foreign;
mod inline;
mod limited_routes;
mod limiting;
mod racing;
mod refusing;
mod repeating;
mod routing;
mod rules;
mod simulating;
mod statements;
mod time_limits;
mod unknown;
mod world;
