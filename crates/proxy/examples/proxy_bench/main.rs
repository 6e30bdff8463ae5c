//! Measures the data plane beside haproxy and nginx on one core each:
//! `cargo run --release -p kiln-proxy --example proxy_bench [seconds] [rounds] [canary]`.
//!
//! The instances (nginx, two of them) and the load (wrk, h2load) run on processor 0, the proxy under test with one
//! thread on processor 1. Rounds take turns, and medians are shown: on a machine with neighbours the processor time
//! per request is the number to trust. With `canary` it measures Kiln's own canary traffic instead. Needs nginx, haproxy, wrk, h2load and taskset.

mod load;
mod peers;

use std::error::Error;
use std::path::Path;

use load::{Kind, Sample};
use peers::{Peer, Running};

const PEERS: &[Peer] = &[Peer::Kiln, Peer::Haproxy, Peer::Nginx];
const KINDS: &[Kind] = &[Kind::Http1, Kind::Tls, Kind::Http2];
/// What canary traffic costs.
const CANARY: &[Peer] = &[Peer::Kiln, Peer::KilnCookie, Peer::KilnHeader, Peer::KilnMirror];

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(folder) = std::env::var_os(peers::SERVE) {
        return peers::serve(Path::new(&folder));
    }
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(4), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let (peers, kinds) = match arguments.next().as_deref() {
        Some("canary") => (CANARY, &KINDS[..1]),
        _ => (PEERS, KINDS),
    };
    let folder = tempfile::tempdir()?;
    let _instances = peers::start_instances(folder.path())?;
    println!("| load | proxy | requests/s | µs of processor per request | p99 | peak memory |");
    println!("|---|---|---|---|---|---|");
    for kind in kinds {
        measure(*kind, peers, folder.path(), seconds, rounds)?;
    }
    Ok(())
}

/// Measures all peers in turns and prints their medians.
fn measure(
    kind: Kind,
    peers: &[Peer],
    folder: &Path,
    seconds: u32,
    rounds: usize,
) -> Result<(), Box<dyn Error>> {
    let mut samples: Vec<Vec<Sample>> = peers.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for step in 0..peers.len() {
            let at = (round + step) % peers.len();
            let peer = Running::start(peers[at], folder)?;
            load::run(kind, peer.ports, 1)?;
            samples[at].push(load::sample(kind, &peer, seconds)?);
        }
    }
    for (peer, samples) in peers.iter().zip(&mut samples) {
        let middle = |of: &dyn Fn(&Sample) -> f64| {
            let mut all: Vec<f64> = samples.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        println!(
            "| {kind:?} | {peer:?} | {:.0} | {:.1} | {:.2} ms | {:.1} MB |",
            middle(&|s| s.rate),
            middle(&|s| s.micros),
            middle(&|s| s.p99),
            middle(&|s| s.memory),
        );
    }
    Ok(())
}
