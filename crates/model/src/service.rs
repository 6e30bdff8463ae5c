//! Services, rollouts and environments: the part of the spec that says where an image runs and how a
//! change gets there.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Amount, Bytes, Check, Name, Policy, Recipe, Requirement, RolloutSpec, Secret, SecretRef, Span, Strategy,
};

/// The evaluated spec: all that `kiln.hcl` and its sister files say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Project {
    /// `project = "shop"`; the folder's name, made fit, when the spec names none.
    pub name: Name,
    /// Image blocks.
    pub images: BTreeMap<Name, Recipe>,
    /// Check blocks, in the order of the spec.
    pub checks: Vec<Check>,
    /// Service blocks.
    pub services: BTreeMap<Name, Service>,
    /// Environment blocks; at least `dev`.
    pub environments: BTreeMap<Name, Environment>,
    /// Public keys that signatures are verified with; the home's own when there is none.
    #[serde(default)]
    pub keys: BTreeMap<Name, TrustedKey>,
    /// `registry = "registry.example.com/shop"`: where `kiln ship` pushes images, a repository for each.
    #[serde(default)]
    pub registry: Option<String>,
    /// Policy blocks; [`Project::policy_for`] says which holds.
    #[serde(default)]
    pub policies: BTreeMap<Name, Policy>,
}

/// `service "web" { … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// The label of the block.
    pub name: Name,
    /// The image block it runs.
    pub image: Name,
    /// Instances wanted. Default 1.
    pub replicas: u32,
    /// Environment over the image's own.
    pub env: BTreeMap<String, String>,
    /// Secrets by name: references, resolved when an instance starts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, Secret>,
    /// Arguments instead of the image's `cmd`.
    pub args: Option<Vec<String>>,
    /// What is reachable from outside.
    pub expose: Vec<Expose>,
    /// Volumes of the image that keep their data here. A declared volume of the image that stands in no
    /// `volume` block of the service is an empty folder that dies with the instance.
    pub volumes: BTreeMap<Name, VolumeMount>,
    /// Services that are deployed before this one and that its instances may call by name.
    pub depends_on: Vec<Name>,
    /// Limits of one instance.
    pub limits: Limits,
    /// How a new release replaces the old.
    pub rollout: RolloutSpec,
    /// How requests are treated on their way.
    pub traffic: TrafficSpec,
    /// How many instances may be away at once over all causes (rollout, ill health, drift, expiry, scaling); a
    /// percentage rounds down, and is never less than one. Default 25 %.
    #[serde(default = "quarter")]
    pub max_disrupted: Amount,
    /// Instances older than this are replaced (kept by the drift and expiry work; parsed and shown today).
    pub max_lifetime: Option<Span>,
}

/// `expose "http" { host = "web.example.com" }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Expose {
    /// Named port of the image.
    pub port: Name,
    /// Port on this machine's side of the proxy; `None`: 8080 for HTTP, 8443 with TLS, the port's own number for TCP.
    pub listen: Option<u16>,
    /// Address the proxy listens on. Default 127.0.0.1.
    pub address: Option<String>,
    /// Host header to serve: exact, or `*.example.com`; `None` is any.
    pub host: Option<String>,
    /// Path prefix on segment borders. Default `/`.
    pub path: String,
    /// Certificate and key files, relative to the spec.
    pub tls: Option<Tls>,
}

/// `tls { certificate = "web.pem" key = "web.key" }`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Tls {
    /// PEM file with the chain, leaf first.
    pub certificate: String,
    /// PEM file with the private key.
    pub key: String,
}

/// `volume "data" { shared = true }` in a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VolumeMount {
    /// Absolute host folder instead of one that Kiln keeps.
    pub host_path: Option<String>,
    /// Whether instances may only read.
    pub read_only: bool,
}

/// `limits { memory = "256MiB" cpu = 0.5 pids = 256 }`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Memory and swap together; `None` is no limit.
    pub memory: Option<Bytes>,
    /// Processors, such as 0.5; `None` is no limit.
    pub cpu: Option<f64>,
    /// Processes and threads; `None` is 4096.
    pub pids: Option<u32>,
}

/// How requests are treated on their way: `traffic { … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrafficSpec {
    /// Time to the response's head. Default 60s; 0s is no limit.
    pub request_timeout: Span,
    /// A connection without any byte in either direction for so long is closed. Default 5m; 0s is no limit.
    pub idle_timeout: Span,
    /// How upgraded connections (WebSocket) of a draining fleet end. Default: at the drain deadline.
    pub upgraded: UpgradedDrain,
    /// Header whose presence with the value of the fleet's release number or `next` reaches a fleet at weight 0.
    /// Default `kiln-preview`.
    pub preview_header: String,
    /// Host name that reaches the newest fleet at weight 0.
    pub preview_host: Option<String>,
    /// While no instance can take a request, requests wait so long for one; then they are answered 503. `None` is 30s
    /// for recreate, and 0s, at once, for the other strategies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
}

/// How upgraded connections of a draining fleet end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpgradedDrain {
    /// They may go on until the drain deadline.
    #[default]
    Wait,
    /// They are closed as soon as the fleet has no weight.
    Close,
}

/// `environment "prod" { protected = true }`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Images come here only by promotion.
    pub protected: bool,
    /// Evidence that must be there about an image before it is deployed here.
    pub requires: Vec<Requirement>,
    /// Where it stands among the environments as the spec writes them. Images are promoted along this order; `None` is
    /// beside it, as a `dev` is that the spec does not write.
    #[serde(default)]
    pub position: Option<usize>,
    /// Environment variables of every service here, over those of its block.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Where the secrets of the services are here, by name, over what their own blocks say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretRef>,
    /// When nothing is deployed.
    #[serde(default)]
    pub freezes: Vec<Freeze>,
}

/// `key "release" { file = "release.pub" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrustedKey {
    /// PEM file with the public key, relative to the spec.
    pub file: String,
}

impl Project {
    /// The environments in the order in which images are promoted.
    pub fn promotion_order(&self) -> Vec<&Name> {
        let placed = self.environments.iter().filter_map(|(name, it)| Some((it.position?, name)));
        let order: BTreeMap<usize, &Name> = placed.collect();
        order.into_values().collect()
    }

    /// The environment whose images are promoted to this one: the one before it.
    pub fn promoted_from(&self, environment: &Name) -> Option<&Name> {
        let order = self.promotion_order();
        let at = order.iter().position(|name| *name == environment)?;
        at.checked_sub(1).map(|before| order[before])
    }
}

/// `freeze "weekend" { begins = "0 18 * * FRI" lasts = "62h" timezone = "Europe/Berlin" }` in an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Freeze {
    /// The label of the block.
    pub name: String,
    /// When it begins: a cron expression of five fields.
    pub begins: String,
    /// How long it lasts.
    pub lasts: Span,
    /// IANA name of the time zone that `begins` is meant in. Default UTC.
    pub timezone: String,
}

fn quarter() -> Amount {
    Amount::Percent(25)
}

impl Service {
    /// The service as an environment configures it: with the environment's variables over its own, and with its secrets
    /// where the environment has them.
    pub fn configured(&self, here: &Environment) -> Self {
        let mut service = self.clone();
        service.env.extend(here.env.clone());
        for (name, secret) in &mut service.secrets {
            if let Some(from) = here.secrets.get(name) {
                secret.from = Some(from.clone());
            }
        }
        service
    }

    /// How long requests wait while no instance can take one.
    pub fn hold(&self) -> Span {
        let usual = match self.rollout.strategy {
            Strategy::Recreate => RECREATE_HOLD,
            Strategy::Rolling { .. } | Strategy::BlueGreen { .. } | Strategy::Canary { .. } => {
                Span::default()
            }
        };
        self.traffic.hold.unwrap_or(usual)
    }
}

/// Most programs are up again within it, and most clients wait for it.
const RECREATE_HOLD: Span = Span::from_secs(30);

impl Default for TrafficSpec {
    fn default() -> Self {
        Self {
            request_timeout: Span::from_secs(60),
            idle_timeout: Span::from_secs(300),
            upgraded: UpgradedDrain::Wait,
            preview_header: "kiln-preview".into(),
            preview_host: None,
            hold: None,
        }
    }
}
