//! What every provider must do.

use kiln_local::LocalProvider;
use kiln_model::InstanceId;
use kiln_provider::{FleetSpec, Provider};
use kiln_testkit::contract::{self, ContractWorld, Program};

use crate::world::{World, eventually, http_health, lives, name, signal};
use crate::{Case, cases};

pub(crate) fn cases() -> Vec<Case> {
    cases!(Both: the_contract_is_kept).to_vec()
}

struct Local {
    world: World,
}

async fn the_contract_is_kept(world: &World) {
    let rootless = world.rootless;
    contract::run(async || Local { world: World::new(rootless) }).await;
}

impl ContractWorld for Local {
    type Provider = LocalProvider;

    async fn open(&self) -> LocalProvider {
        self.world.provider().await
    }

    fn fleet(&self, number: u64, program: Program) -> FleetSpec {
        let mut spec = self.world.serving(|content| {
            content.config.cmd = match program {
                Program::Good => vec!["serve".into(), "8080".into()],
                Program::NeverHealthy => vec!["sleep".into()],
                Program::ExitsAtOnce => vec!["exit".into(), "1".into(), "last words".into()],
            };
            content.config.health = Some(http_health());
            content.service.name = name("web");
        });
        spec.release.number = kiln_model::ReleaseNumber(number);
        spec
    }

    async fn kill(&self, provider: &LocalProvider, instance: &InstanceId) {
        let observation = provider.observe().await.unwrap();
        let all = observation.fleets.values().flat_map(|fleet| &fleet.instances);
        let pid = all.filter(|known| known.id == *instance).find_map(|known| known.pid).unwrap();
        signal(pid, "KILL");
        eventually("the death of an instance", || !lives(pid)).await;
    }

    fn hello(&self) -> Option<Vec<String>> {
        Some(vec!["/app".into(), "hello".into()])
    }
}
