//! A connection over HTTP.

use crate::control::{self, Doors};
use crate::http::{self, Manner, ReadError, Reply, Request};
use crate::take::{answer, ask, take};
use crate::vendor::{self, Handled};
use crate::world::World;
use bytes::BytesMut;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// How long a connection may wait for a call, or take to send one.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long an answer may take to be written: longer than the slowest drip.
const LONGEST_ANSWER: Duration = Duration::from_mins(15);

/// Serves calls until the client goes, the door shuts or something breaks as it was told to.
pub(crate) async fn connection(
    world: Arc<World>,
    doors: Arc<Doors>,
    mut stream: TcpStream,
    open: CancellationToken,
) {
    let mut buffer = BytesMut::new();
    loop {
        let read = tokio::select! {
            read = tokio::time::timeout(PATIENCE, http::read(&mut stream, &mut buffer)) => read,
            () = open.cancelled() => return,
        };
        let request = match read {
            Ok(Ok(request)) => request,
            Ok(Err(ReadError::Refused(status))) => {
                let reply = Reply::empty(status);
                // The connection ends either way.
                let _ = http::write(&mut stream, &reply, Manner::Whole, world.now(), false).await;
                return;
            }
            Ok(Err(ReadError::Ended)) | Err(_) => return,
        };
        let (reply, manner) = handle(&world, &doors, &request).await;
        let written = http::write(&mut stream, &reply, manner, world.now(), request.keep_alive);
        let again = tokio::select! {
            written = tokio::time::timeout(LONGEST_ANSWER, written) => written,
            () = world.ended().cancelled() => return,
        };
        if !matches!(again, Ok(Ok(true))) {
            return;
        }
    }
}

async fn handle(world: &Arc<World>, doors: &Doors, request: &Request) -> (Reply, Manner) {
    if let Some(reply) = control::handle(world, doors, request).await {
        return (reply, Manner::Whole);
    }
    let _under_way = world.enter();
    match vendor::handle(request, world) {
        None => (
            Reply::of(404, "text/plain", "no vendor has this path\n"),
            Manner::Whole,
        ),
        Some(Handled::Reply(reply)) => (reply, Manner::Whole),
        Some(Handled::Ask(question)) => ask(world, *question).await,
        Some(Handled::Take(draft)) => {
            let taking = take(world, &draft).await;
            answer(world, &draft, taking)
        }
    }
}
