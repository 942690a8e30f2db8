//! C1: the clocks of the processes jump while messages come in, some of them for later.
//!
//! The processes follow a file each (`TIDINGS_CLOCK_FILE`), so that two of them may also differ. The ledger is kept by the
//! machine's clock.

use super::Ground;
use super::lab::{Clock, Kind, Lab, end};
use super::report::Report;
use crate::bench::MachineClock;
use crate::load::{Letter, Load, Pace, address};
use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;
use tidings_core::Clock as _;
use tidings_stand_in::{Inbound, Query, Vendor};

/// How long a process may be silent.
const LEASE_S: u32 = 5;
/// Twenty messages a second.
const PACE: Pace = Pace {
    callers: 2,
    every: Duration::from_millis(100),
};
/// Traffic before and after each jump.
const TRAFFIC: Duration = Duration::from_secs(3);
/// Until both processes have seen that the file changed, with room for calls that were begun before.
const SEEN: SignedDuration = SignedDuration::from_secs(2);
/// Messages for later, before each jump: so many for soon, and as many for much later.
const SCHEDULED: u32 = 5;
const SOON: SignedDuration = SignedDuration::from_secs(4);
const MUCH_LATER: SignedDuration = SignedDuration::from_mins(90);
/// Beyond this a webhook's time is not believed (Standard Webhooks).
const BELIEVED: SignedDuration = SignedDuration::from_mins(5);

/// Where the clocks of the two processes go.
#[derive(Clone, Copy, Debug)]
enum Jump {
    /// So far from the machine's.
    Away(SignedDuration, SignedDuration),
    /// Just before an instant: summer time begins or ends.
    Before(&'static str),
}

const JUMPS: [(&str, Jump); 6] = [
    (
        "an hour ahead",
        Jump::Away(SignedDuration::from_hours(1), SignedDuration::from_hours(1)),
    ),
    (
        "an hour back",
        Jump::Away(SignedDuration::ZERO, SignedDuration::ZERO),
    ),
    (
        "five seconds apart each way",
        Jump::Away(SignedDuration::from_secs(5), SignedDuration::from_secs(-5)),
    ),
    (
        "two days ahead",
        Jump::Away(SignedDuration::from_hours(48), SignedDuration::from_hours(48)),
    ),
    ("into summer time", Jump::Before("2027-03-28T00:59:58Z")),
    ("out of summer time", Jump::Before("2027-10-31T00:59:58Z")),
];

/// The clocks of the processes, and where they have been.
struct Clocks {
    clocks: [Clock; 2],
    /// From when on (by the machine) which process was how far away.
    been: Vec<(Timestamp, [SignedDuration; 2])>,
}

impl Clocks {
    fn new(lab: &Lab) -> Result<Self> {
        let clock = |name| Clock::new(&lab.folder, name);
        let mut clocks = Self {
            clocks: [clock("clock-a")?, clock("clock-b")?],
            been: Vec::new(),
        };
        clocks.set([SignedDuration::ZERO; 2])?;
        Ok(clocks)
    }

    fn set(&mut self, away: [SignedDuration; 2]) -> Result<()> {
        for (clock, away) in self.clocks.iter_mut().zip(away) {
            clock.set(away)?;
        }
        self.been.push((MachineClock.now(), away));
        Ok(())
    }

    fn jump(&mut self, jump: Jump) -> Result<()> {
        match jump {
            Jump::Away(first, second) => self.set([first, second]),
            Jump::Before(instant) => {
                let instant: Timestamp = instant.parse().context("an instant of the table")?;
                self.set([instant.duration_since(MachineClock.now()); 2])
            }
        }
    }

    fn now(&self) -> [SignedDuration; 2] {
        self.been
            .last()
            .map_or([SignedDuration::ZERO; 2], |(_, away)| *away)
    }

    /// The latest time that any process may have had at an instant of the machine.
    fn latest(&self, at: Timestamp) -> Timestamp {
        let mut away = SignedDuration::MIN;
        for (nth, (since, both)) in self.been.iter().enumerate() {
            let until = self.been.get(nth + 1).map_or(Timestamp::MAX, |(next, _)| *next);
            if *since <= at && at <= until.saturating_add(SEEN).unwrap_or(Timestamp::MAX) {
                away = both.iter().copied().fold(away, SignedDuration::max);
            }
        }
        at.saturating_add(away).unwrap_or(Timestamp::MAX)
    }
}

/// Runs the row.
pub async fn run(ground: &Ground<'_>) -> Result<Report> {
    let lab = Lab::open(ground, "c1", Kind::Lookup, LEASE_S).await?;
    lab.webhooks(Vec::new(), Vec::new()).await?;
    let mut clocks = Clocks::new(&lab)?;
    let files = clocks.clocks.each_ref().map(Clock::file);
    let mut nodes = vec![
        lab.engine
            .serve_with("all", &[("TIDINGS_CLOCK_FILE", &files[0])])?,
        lab.engine
            .serve_with("worker", &[("TIDINGS_CLOCK_FILE", &files[1])])?,
    ];
    lab.engine.up(&mut nodes[0]).await?;
    let load = Load::default();
    let mut report = Report::default();
    let jumping = async {
        let jumped = jump_about(ground, &lab, &load, &mut clocks, &mut report).await;
        load.stop();
        jumped
    };
    let ((), jumped) = tokio::join!(load.run(&lab.engine, PACE, "c1-"), jumping);
    let scheduled = jumped?;
    // Later than everything that was asked for.
    let last = clocks.now()[0] + SignedDuration::from_hours(2);
    clocks.set([last; 2])?;
    for node in &mut nodes {
        anyhow::ensure!(
            node.try_wait()?.is_none(),
            "a process ended by itself; see serve.log"
        );
    }
    lab.settle_under(&load, &mut report).await?;
    let early = early(&lab, &clocks, &scheduled);
    report.demand(early.is_empty(), || {
        format!("sent too early: {}", early.join(", "))
    });
    report.figure("scheduled", scheduled.len());
    end(nodes).await?;
    Ok(report)
}

/// Jumps, with messages for later before each; when each of those is due, by its address.
async fn jump_about(
    ground: &Ground<'_>,
    lab: &Lab,
    load: &Load,
    clocks: &mut Clocks,
    report: &mut Report,
) -> Result<HashMap<String, Timestamp>> {
    let mut scheduled = HashMap::new();
    webhook(lab, clocks, report, "before any jump").await?;
    for turn in 0..ground.times(1) {
        for (nth, (name, jump)) in JUMPS.into_iter().enumerate() {
            let now = MachineClock.now() + clocks.now()[0];
            for (what, wait) in [("soon", SOON), ("later", MUCH_LATER)] {
                for number in 0..SCHEDULED {
                    let mut letter = Letter::new(&format!("{what}-{turn}-{nth}-{number}"));
                    let at = now.saturating_add(wait)?;
                    letter.body["send_at"] = json!(at.to_string());
                    load.submit(&lab.engine, &letter)
                        .await
                        .context("a message for later was not acknowledged")?;
                    scheduled.insert(address(&letter.name), at);
                }
            }
            tokio::time::sleep(TRAFFIC).await;
            clocks.jump(jump)?;
            tokio::time::sleep(TRAFFIC).await;
            webhook(lab, clocks, report, name).await?;
            report.trials += 1;
            ground.say(&format!("C1: {name}; {} messages acknowledged", load.count()));
        }
    }
    Ok(scheduled)
}

/// A provider's webhook is believed while its time is near the process's own, and refused else.
async fn webhook(lab: &Lab, clocks: &Clocks, report: &mut Report, when: &str) -> Result<()> {
    let message = Inbound {
        from: "customer@example.com".to_owned(),
        to: "shop@brand.example".to_owned(),
        text: "Thank you".to_owned(),
        subject: None,
        name: None,
        in_reply_to: None,
        id: None,
    };
    let told = lab
        .standin
        .inbound(Vendor::Sandbox, "default", &message)
        .await
        .map_err(|problem| anyhow::anyhow!(problem))?;
    let status = told["status"].as_u64();
    let believed = clocks.now()[0].abs() < BELIEVED;
    let right = match status {
        Some(200..=299) => believed,
        Some(400..=499) => !believed,
        _ => false,
    };
    report.demand(right, || format!("a webhook was answered {status:?} {when}"));
    Ok(())
}

/// Messages that left before any process can have thought that they were due.
fn early(lab: &Lab, clocks: &Clocks, scheduled: &HashMap<String, Timestamp>) -> Vec<String> {
    let mut early = Vec::new();
    let mut query = Query::default();
    loop {
        let page = lab.standin.ledger().entries(&query);
        let Some(last) = page.last() else { return early };
        query.after = last.seq;
        for entry in page {
            let address = entry.recipient.expose();
            if scheduled
                .get(address)
                .is_some_and(|due| clocks.latest(entry.at) < *due)
            {
                early.push(address.clone());
            }
        }
    }
}
