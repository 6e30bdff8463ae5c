//! The fake provider keeps the contract that it stands in for.

use kiln_model::InstanceId;
use kiln_provider::FleetSpec;
use kiln_testkit::contract::{self, ContractWorld, Program};
use kiln_testkit::{Behaviour, FakeClock, FakeProvider, fleet_spec};

struct Fake(FakeProvider);

impl ContractWorld for Fake {
    type Provider = FakeProvider;

    async fn open(&self) -> FakeProvider {
        self.0.reopen()
    }

    fn fleet(&self, number: u64, program: Program) -> FleetSpec {
        let mut spec = fleet_spec(number);
        spec.release.reason = Some(format!("{program:?}"));
        let behaviour = match program {
            Program::Good => Behaviour::default(),
            Program::NeverHealthy => Behaviour::never_ready(),
            Program::ExitsAtOnce => Behaviour::exits_at_start(5),
        };
        self.0.script(&spec.release.fleet(), [behaviour]);
        spec
    }

    async fn kill(&self, provider: &FakeProvider, instance: &InstanceId) {
        assert!(provider.kill(instance), "{instance} lives");
    }

    async fn pass(&self, provider: &FakeProvider) {
        provider.clock().advance(50);
        tokio::task::yield_now().await;
    }

    fn hello(&self) -> Option<Vec<String>> {
        Some(vec!["hello".into()])
    }

    fn verdict(&self, provider: &FakeProvider) -> Result<(), String> {
        let misuses = provider.misuses();
        if misuses.is_empty() { Ok(()) } else { Err(format!("{misuses:?}")) }
    }
}

#[tokio::test]
async fn the_fake_provider_keeps_the_contract() {
    contract::run(async || Fake(FakeProvider::new(FakeClock::default(), 7))).await;
}

#[tokio::test]
async fn the_fake_provider_keeps_it_in_several_domains() {
    let make = async || {
        let provider = FakeProvider::new(FakeClock::default(), 7);
        provider.zones(["b", "a"].map(String::from));
        Fake(provider)
    };
    contract::run(make).await;
}
