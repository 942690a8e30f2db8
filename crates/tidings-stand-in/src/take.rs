//! Taking a call: what strikes it, whether it is booked, and how it is answered. A question is struck and answered likewise.

use crate::chance;
use crate::fault::{Call, Fault, Magic, Strike, between, magic};
use crate::http::{Manner, Reply};
use crate::ledger::Booking;
use crate::vendor::{Accepted, Draft, Problem, Question, Vendor, problem};
use crate::webhook::Event;
use crate::world::World;
use std::sync::Arc;

/// What became of a call.
pub(crate) struct Taking {
    /// What strikes it.
    pub fault: Option<Fault>,
    /// The id under which it was taken, and whether it came before; nothing when a fault kept it from being taken.
    pub taken: Result<Option<(String, bool)>, Problem>,
}

/// Takes a call, unless something keeps it from being taken. Once this returns an id, nothing can lose it.
pub(crate) async fn take(world: &Arc<World>, draft: &Draft) -> Taking {
    let (strike, report) = strikes(world, draft);
    let refused = |taken| Taking { fault: None, taken };
    let held = match &draft.key {
        None => None,
        Some(key) => match world.hold_key(draft.vendor, &draft.account, &key.text) {
            Some(held) => Some(held),
            None => return refused(Err(Problem::Concurrent)),
        },
    };
    let (fault, taken) = match strike.fault {
        Some((fault, false)) => (Some(fault), Ok(None)),
        fault => {
            let taken = book(world, draft, report).await.map(Some);
            (fault.map(|(fault, _)| fault).filter(|_| taken.is_ok()), taken)
        }
    };
    // What is taken is taken when it arrives; the answer alone is late. A stand-in that ends answers at once.
    world.sleep(strike.delay).await;
    drop(held);
    Taking { fault, taken }
}

/// By magic recipient, by rule, and what is usual.
fn strikes(world: &World, draft: &Draft) -> (Strike, Option<Event>) {
    let first = &draft.copies[0];
    let about = first.reference.as_deref().unwrap_or(&draft.body_sha256);
    let mut strike = world.rules().strike(&Call {
        vendor: draft.vendor,
        recipient: &first.recipient,
        about,
        asked: false,
    });
    let (min_ms, max_ms) = world.latency_ms;
    strike.delay += between(min_ms, max_ms, chance::fraction(world.seed, &["usual", about]));
    match magic(&first.recipient).filter(|_| world.magic) {
        Some(Magic::Fault(Fault::Latency { min_ms, max_ms })) => strike.delay += between(min_ms, max_ms, 0.0),
        Some(Magic::Fault(fault)) => {
            let accepts = fault.accepts();
            strike.fault = strike.fault.or(Some((fault, accepts)));
        }
        Some(Magic::Report(event)) => return (strike, Some(event)),
        None => {}
    }
    (strike, None)
}

async fn book(world: &Arc<World>, draft: &Draft, report: Option<Event>) -> Result<(String, bool), Problem> {
    let now = world.now();
    let earlier = draft.key.as_ref().and_then(|key| {
        world
            .ledger
            .under_key(draft.vendor, &draft.account, &key.text, now)
    });
    let bound = draft.key.as_ref().is_some_and(|key| key.bound_to_body);
    if earlier
        .as_ref()
        .is_some_and(|entry| bound && entry.body_sha256 != draft.body_sha256)
    {
        return Err(Problem::KeyReused);
    }
    let replay = earlier.is_some();
    let id = match (earlier, &draft.own_id) {
        (Some(entry), _) => entry.provider_id.clone(),
        (None, Some(id)) => id.clone(),
        (None, None) => world.make_id(draft.vendor),
    };
    let entries = world
        .ledger
        .enter(Booking {
            vendor: draft.vendor,
            account: draft.account.clone(),
            provider_id: id.clone(),
            at: now,
            body_sha256: draft.body_sha256.clone(),
            replay,
            copies: draft.copies.clone(),
            about: draft.about.clone(),
        })
        .await
        .map_err(|error| {
            tracing::error!(%error, "nothing is accepted");
            Problem::Broken
        })?;
    world.outbox.script(world, &entries, report).await;
    Ok((id, replay))
}

/// The answer to a call over HTTP, and how it is written.
pub(crate) fn answer(world: &World, draft: &Draft, taking: Taking) -> (Reply, Manner) {
    let now = world.now();
    let taken = match taking.taken {
        Ok(taken) => taken,
        Err(no) => return (problem(draft.vendor, no, now), Manner::Whole),
    };
    let fine = |id: &str, replay| {
        (draft.accepted)(&Accepted {
            draft,
            id,
            now,
            replay,
        })
    };
    let Some(fault) = taking.fault else {
        return match taken {
            Some((id, replay)) => (fine(&id, replay), Manner::Whole),
            None => (problem(draft.vendor, Problem::Broken, now), Manner::Whole),
        };
    };
    if let Some(manner) = manner(&fault) {
        // What was not taken is answered with an id that is nobody's.
        let (id, replay) = taken.unwrap_or_else(|| (world.make_id(draft.vendor), false));
        return (fine(&id, replay), manner);
    }
    (in_words(draft.vendor, &fault, world), Manner::Whole)
}

/// The answer to a question, and how it is written. Magic recipients are about messages alone.
pub(crate) async fn ask(world: &World, question: Question) -> (Reply, Manner) {
    let strike = world.rules().strike(&Call {
        vendor: question.vendor,
        recipient: &question.recipient,
        about: &question.about,
        asked: true,
    });
    world.sleep(strike.delay).await;
    let Some((fault, _)) = strike.fault else {
        return (question.reply, Manner::Whole);
    };
    match manner(&fault) {
        Some(manner) => (question.reply, manner),
        None => (in_words(question.vendor, &fault, world), Manner::Whole),
    }
}

/// How the socket breaks; nothing for a fault that is expressed in words.
fn manner(fault: &Fault) -> Option<Manner> {
    Some(match fault {
        Fault::Latency { .. } => Manner::Whole,
        Fault::TimeoutBeforeAccept | Fault::TimeoutAfterAccept => Manner::Silence,
        Fault::HalfClose => Manner::Close,
        Fault::Reset => Manner::Reset,
        Fault::Garbage => Manner::Garbage,
        Fault::Nonsense => Manner::Nonsense,
        Fault::TruncatedChunk => Manner::TruncatedChunk,
        Fault::Drip => Manner::Drip,
        Fault::Huge => Manner::Huge,
        _ => return None,
    })
}

fn in_words(vendor: Vendor, fault: &Fault, world: &World) -> Reply {
    let said = |no| problem(vendor, no, world.now());
    match fault {
        Fault::RateLimited { retry_after_s, bare } => said(Problem::RateLimited {
            retry_after_s: *retry_after_s,
            bare: *bare,
        }),
        Fault::HtmlError => Reply::html(502),
        Fault::AuthFailure => said(Problem::AuthFailure),
        Fault::InvalidInput => said(Problem::InvalidInput),
        Fault::NoRecipient => said(Problem::NoRecipient),
        Fault::OptedOut => said(Problem::OptedOut),
        Fault::ErrorInSuccess => Reply {
            status: 200,
            ..said(Problem::Broken)
        },
        Fault::Redirect { location } => {
            Reply::empty(302).with("Location", location.replace(['\r', '\n'], ""))
        }
        _ => said(Problem::Broken),
    }
}
