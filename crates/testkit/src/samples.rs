//! Releases to run where the bytes do not matter.

use std::collections::BTreeMap;

use kiln_model::{
    Digest, ImageConfig, Limits, Name, Port, Protocol, Release, ReleaseContent, ReleaseNumber, RolloutSpec,
    Service, TrafficSpec,
};
use kiln_provider::FleetSpec;

fn name(text: &str) -> Name {
    Name::new(text).expect("a name of the test kit")
}

/// Release `number` of service `web` in environment `dev`, with one HTTP port.
pub fn release(number: u64) -> Release {
    let port = Port { number: 8080, protocol: Protocol::Http };
    let mut image = [0; 32];
    image[..8].copy_from_slice(&number.to_be_bytes());
    let config = ImageConfig {
        entrypoint: vec!["/app".into()],
        ports: BTreeMap::from([(name("http"), port)]),
        ..ImageConfig::default()
    };
    let content = ReleaseContent {
        project: name("test"),
        service: service(),
        image: Digest::from_bytes(image),
        config,
        checks: Vec::new(),
    };
    Release {
        environment: name("dev"),
        number: ReleaseNumber(number),
        digest: Digest::from_bytes(image),
        content,
        created_ms: 1_767_225_600_000,
        author: "test".into(),
        reason: None,
    }
}

/// The fleet of [`release`] `number`, without peers.
pub fn fleet_spec(number: u64) -> FleetSpec {
    FleetSpec { release: release(number), peers: Vec::new() }
}

fn service() -> Service {
    Service {
        name: name("web"),
        image: name("web"),
        replicas: 3,
        env: BTreeMap::new(),
        args: None,
        expose: Vec::new(),
        volumes: BTreeMap::new(),
        depends_on: Vec::new(),
        limits: Limits::default(),
        rollout: RolloutSpec::default(),
        traffic: TrafficSpec::default(),
        max_disrupted: kiln_model::Amount::Percent(25),
        max_lifetime: None,
        secrets: Default::default(),
    }
}
