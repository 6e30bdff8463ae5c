//! Small values for this crate's own tests.

use std::collections::BTreeMap;

use kiln_model::{
    Digest, ImageConfig, Limits, Name, Port, Protocol, ReleaseContent, RolloutSpec, Service, TrafficSpec,
};
use sha2::Digest as _;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A service with one HTTP port 8080; `build` stands for the bytes of its image.
pub(crate) fn content(service: &str, build: &str) -> ReleaseContent {
    let config = ImageConfig {
        ports: BTreeMap::from([(name("http"), Port { number: 8080, protocol: Protocol::Http })]),
        ..ImageConfig::default()
    };
    ReleaseContent {
        project: name("shop"),
        service: self::service(service),
        image: Digest::from_bytes(sha2::Sha256::digest(build).into()),
        config,
        checks: Vec::new(),
    }
}

fn service(service: &str) -> Service {
    Service {
        name: name(service),
        image: name(service),
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
