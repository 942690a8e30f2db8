//! Waiting for a server that was started to open its port.
//!
//! Also compiled into `xtask` and the proofs; so it needs nothing but the standard library and anyhow.

use anyhow::bail;
use std::net::{Ipv4Addr, TcpStream};
use std::process::Child;
use std::time::{Duration, Instant};

/// Waits until the port of the loopback interface is open; false when the process ended instead. Nothing tells of a port that was
/// opened, so it is tried now and then. What does not open it in time is ended.
pub fn wait(child: &mut Child, name: &str, port: u16, limit: Duration) -> anyhow::Result<bool> {
    let begin = Instant::now();
    while begin.elapsed() < limit {
        if child.try_wait()?.is_some() {
            return Ok(false);
        }
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
    bail!(
        "{name} did not listen on port {port} within {} s",
        limit.as_secs()
    )
}
