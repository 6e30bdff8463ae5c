//! kill -9 of each process at every stage and gate of a rollout, under requests of all kinds.
//!
//! A first deploy shows which gates are waited for at all. Then the events of further deploys are followed, and whoever
//! is the victim is killed the moment a gate is told that was not struck yet.

use std::collections::BTreeSet;

use kiln_testkit::{LoadReport, Rng, signal, wait_until};
use serde_json::Value;

use crate::crashes::no_orphans;
use crate::events::{self, Events};
use crate::support::{Project, SOON};

const CANARY: &str = "rollout \"canary\" {
    steps = [50]
    hold  = \"300ms\"

    analyse {
      max_error_rate = \"90%\"
      min_requests   = 5
    }
  }";
const ROLLING: &str = "rollout \"rolling\" { pause = \"200ms\" }";
const KILL: i32 = 9;

/// A stage, counted from 1, and the kind of a gate in it.
type Moment = (u64, String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Serve,
    Proxy,
    Shim,
}

struct Gauntlet {
    project: Project,
    victim: Victim,
    rng: Rng,
    /// Moments at which nobody was killed yet.
    left: BTreeSet<Moment>,
    kills: u64,
}

fn moment(event: &Value) -> Option<Moment> {
    let gate = event["gate"]["kind"].as_str().filter(|_| event["kind"] == "gate")?;
    Some((event["stage"].as_u64()?, gate.to_owned()))
}

impl Gauntlet {
    fn new(rollout: &str, victim: Victim) -> Self {
        let mut project = Project::new(rollout);
        project.in_service = "traffic { upgraded = \"close\" }".into();
        project.up(&[("VERSION", "v0")]).success();
        let before = events::last(&project);
        project.up(&[("VERSION", "v1")]).success();
        let after = |event: &&Value| event["id"].as_i64() > Some(before);
        let left: BTreeSet<Moment> = events::all(&project).iter().filter(after).filter_map(moment).collect();
        // In a rollout of two stages or more each is waited for in some way.
        assert!(left.len() > 3, "{left:?}");
        Self { project, victim, rng: Rng::new(4), left, kills: 0 }
    }

    /// Deploys until somebody was killed at every gate. Says how the last rollout ended.
    fn run(&mut self) -> (LoadReport, String) {
        let load = self.project.mixed().start();
        let rounds = self.left.len() * 2 + 3;
        let (mut number, mut end) = (1, String::new());
        while !self.left.is_empty() {
            number += 1;
            assert!(number < rounds, "gates were not reached in {number} deploys: {:?}", self.left);
            end = self.deploy(&format!("v{number}"));
            self.converge();
        }
        let report = load.stop();
        println!(
            "{:?} killed {} times: {} requests failed\n{report}",
            self.victim, self.kills, report.failed
        );
        (report, end)
    }

    /// One deploy to its end; says which.
    fn deploy(&mut self, version: &str) -> String {
        let mut after = events::last(&self.project);
        self.project.spec(&[("VERSION", version)]);
        self.project.env.kiln(["deploy", "--no-wait"]).success();
        loop {
            let mut stream = Events::follow(&self.project, after).expect("a control plane");
            while let Some(event) = stream.next() {
                after = event["id"].as_i64().expect("a number");
                let kind = event["kind"].as_str().expect("a kind");
                if ["succeeded", "rolled-back", "failed", "cancelled"].contains(&kind) {
                    println!("{version}: {kind} {}", event["reason"]);
                    return kind.to_owned();
                }
                if moment(&event).is_some_and(|moment| self.left.remove(&moment)) {
                    println!(
                        "{version}: kills {:?} at stage {}, {}",
                        self.victim, event["stage"], event["gate"]
                    );
                    self.kill();
                    if self.victim == Victim::Serve {
                        break;
                    }
                }
            }
            // Whoever asks for the same starts the control plane again, which goes on where it stood.
            self.project.env.kiln(["deploy", "--no-wait"]).success();
        }
    }

    fn kill(&mut self) {
        let env = &self.project.env;
        let pid = match self.victim {
            Victim::Serve => env.serve_pid(),
            Victim::Proxy => env.proxy_pid(),
            Victim::Shim => {
                let shims: Vec<u32> = env.instances().into_iter().filter_map(|one| one.shim).collect();
                Some(*self.rng.pick(&shims))
            }
        };
        // A data plane that was just killed may not be back yet, and an instance may have ended by itself.
        let Some(pid) = pid else { return };
        self.kills += u64::from(signal(pid, KILL).is_ok());
        wait_until("the victim is dead", SOON, || !kiln_testkit::is_alive(pid));
    }

    /// Everything is as it is known, and serves.
    fn converge(&self) {
        wait_until("everything is well again", SOON, || {
            let outcome = self.project.env.kiln(["status", "--json"]);
            if outcome.code != Some(0) {
                return false;
            }
            let status = outcome.json()["services"][0].clone();
            let settled = status["rollout"].is_null() || !status["rollout"]["ended_ms"].is_null();
            let whole = status["ready"] == 3 && status["fleets"].as_array().is_some_and(|it| it.len() == 1);
            settled && whole && self.project.body().is_some() && no_orphans(&self.project)
        });
    }
}

/// Whoever uses the service sees nothing of it.
fn control_plane(rollout: &str) {
    let (report, end) = Gauntlet::new(rollout, Victim::Serve).run();
    report.assert_lossless();
    assert_eq!(end, "succeeded");
}

/// What was under way on the data plane is lost with it, and nothing of the rollout.
fn data_plane(rollout: &str) {
    let mut gauntlet = Gauntlet::new(rollout, Victim::Proxy);
    let (_, end) = gauntlet.run();
    assert_eq!(end, "succeeded");
    let load = gauntlet.project.mixed().start();
    wait_until("the load flows again", SOON, || load.answered() > 100);
    load.stop().assert_lossless();
}

/// With an instance goes what was under way on it: at most one request of each client.
fn supervisors(rollout: &str) {
    let mut gauntlet = Gauntlet::new(rollout, Victim::Shim);
    let (report, _) = gauntlet.run();
    let plan = gauntlet.project.mixed();
    let clients = plan.connections + plan.others.fresh + plan.others.slow.len() + plan.others.websockets;
    assert!(report.failed <= gauntlet.kills * clients as u64, "more than was under way: {report}");
}

#[test]
fn the_control_plane_at_every_gate_of_a_canary() {
    control_plane(CANARY);
}

#[test]
fn the_control_plane_at_every_gate_of_a_rolling_update() {
    control_plane(ROLLING);
}

#[test]
fn the_data_plane_at_every_gate_of_a_canary() {
    data_plane(CANARY);
}

#[test]
fn the_data_plane_at_every_gate_of_a_rolling_update() {
    data_plane(ROLLING);
}

#[test]
fn supervisors_at_every_gate_of_a_canary() {
    supervisors(CANARY);
}

#[test]
fn supervisors_at_every_gate_of_a_rolling_update() {
    supervisors(ROLLING);
}
