//! A listener that can be shut for a while: then nobody listens, and connections that wait for a call are closed.

use crate::world::World;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Connections at once; more wait to be accepted.
const MOST_CONNECTIONS: usize = 1_024;
/// Between two tries to listen again.
const RETRY: Duration = Duration::from_millis(50);

type Shutting = (Duration, oneshot::Sender<()>);

/// The way to a listener.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub address: SocketAddr,
    shut: mpsc::Sender<Shutting>,
}

impl Door {
    /// Opens it; `serve` gets each connection, and a token that is cancelled when it should take no further call.
    pub(crate) async fn open<F, S>(world: &Arc<World>, address: SocketAddr, serve: S) -> std::io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(Arc<World>, TcpStream, CancellationToken) -> F + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (shut, shuttings) = mpsc::channel(1);
        world.spawn(stand(Arc::clone(world), listener, address, shuttings, serve));
        Ok(Self { address, shut })
    }

    /// Shuts it for a while, and returns once nobody listens any more.
    pub(crate) async fn shut_for(&self, time: Duration) {
        let (done, shut) = oneshot::channel();
        if self.shut.send((time, done)).await.is_ok() {
            // An error means that the door is gone altogether: nobody listens either.
            let _ = shut.await;
        }
    }
}

async fn stand<F, S>(
    world: Arc<World>,
    mut listener: TcpListener,
    address: SocketAddr,
    mut shuttings: mpsc::Receiver<Shutting>,
    serve: S,
) where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(Arc<World>, TcpStream, CancellationToken) -> F + Send + Sync + 'static,
{
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut open = world.ended().child_token();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        tokio::select! {
            () = world.ended().cancelled() => return,
            Some((time, done)) = shuttings.recv() => {
                drop(listener);
                open.cancel();
                open = world.ended().child_token();
                // Whoever asked may have gone.
                let _ = done.send(());
                world.sleep(time).await;
                match listen_again(&world, address).await {
                    Some(again) => listener = again,
                    None => return,
                }
            }
            accepted = listener.accept() => {
                // A connection that broke before it was accepted is nobody's loss.
                if let Ok((stream, _)) = accepted {
                    let _ = stream.set_nodelay(true);
                    let served = serve(Arc::clone(&world), stream, open.clone());
                    world.spawn(async move {
                        served.await;
                        drop(place);
                    });
                }
            }
        }
    }
}

/// Tries until the port is free again; nothing when the stand-in ends before.
async fn listen_again(world: &World, address: SocketAddr) -> Option<TcpListener> {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Some(listener),
            Err(error) => tracing::warn!(%address, %error, "cannot listen again yet"),
        }
        if !world.sleep(RETRY).await {
            return None;
        }
    }
}
