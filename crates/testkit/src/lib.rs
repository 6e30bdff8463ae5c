//! Doubles and worlds for Kiln's tests; no production crate links this one.
//!
//! - [`FakeProvider`] and [`FakeTraffic`]: a provider and a data plane on a [`FakeClock`], stricter than any real one,
//!   with scripted instances and seeded faults.
//! - [`simulate`]: the whole loop of engine, provider and data plane under faults and crashes, thousands of seeds.
//! - [`fail_every_action`]: one rollout for each of its actions that goes wrong.
//! - [`contract`]: what every provider must do, run against a world that knows how to make one.
//! - [`TestEnvironment`]: the real binary in a home of its own, with load, waiting and cleaning up.
//! - [`DockerRegistry`]: somebody else's registry.

pub mod contract;

mod clock;
mod environment;
mod load;
mod network;
mod provider;
mod registry;
mod rng;
mod samples;
mod script;
mod sim;
mod traffic;
mod wait;

pub use clock::FakeClock;
pub use environment::{InstanceProcesses, RunOutcome, Running, TestEnvironment, is_alive, signal};
pub use load::{Load, LoadPlan, LoadReport, Others, Response, WebSockets, get};
pub use network::remove_network;
pub use provider::{FakeProvider, Misuse};
pub use registry::DockerRegistry;
pub use rng::Rng;
pub use samples::{fleet_spec, release};
pub use script::{Behaviour, Faults};
pub use sim::{
    Broken, Deploy, Hand, Interruption, Outcome, Quality, Scenario, fail_every_action,
    run as simulate_scenario, simulate, simulate_all,
};
pub use traffic::{FakeTraffic, Table, TrafficFaults};
pub use wait::{free_port, wait_for, wait_until};
