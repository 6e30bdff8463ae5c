//! From a release to an instance's intent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use kiln_model::{InstanceId, Name, Release, VolumeDecl, VolumeMount};
use kiln_provider::{Endpoint, FleetSpec};

use super::Inner;
use super::state::{Instance, State};
use crate::config::LOOPBACK;
use crate::error::LocalError;
use crate::intent::{Intent, IntentLimits, Network, StopRule, Volume, VolumeSource};
use crate::net::bridge::PREFIX;
use crate::sandbox::spec::host_name;

/// Processes and threads unless the service says otherwise.
const DEFAULT_PIDS: u32 = 4096;
/// Where programs are looked for unless the image says otherwise.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Makes the intent of an instance.
pub(super) fn of(
    inner: &Inner,
    id: &InstanceId,
    spec: &FleetSpec,
    network: Network,
) -> Result<Intent, LocalError> {
    let content = &spec.release.content;
    let (image, config, service) = (&content.image, &content.config, &content.service);
    let tree =
        inner.config.rootfs.tree(image).map_err(|source| LocalError::Tree { image: *image, source })?;
    let arguments = service.args.as_ref().unwrap_or(&config.cmd);
    let argv: Vec<String> = config.entrypoint.iter().chain(arguments).cloned().collect();
    if argv.is_empty() {
        return Err(LocalError::NothingToRun { image: *image });
    }
    let peers: BTreeSet<String> = spec.peers.iter().map(|peer| peer.service.to_string()).collect();
    Ok(Intent {
        id: id.clone(),
        fleet: spec.release.fleet(),
        tree,
        argv,
        env: environment(id, &spec.release),
        secrets: service.secrets.iter().map(|(name, secret)| (name.clone(), secret.delivery)).collect(),
        user: config.user.clone(),
        workdir: config.workdir.clone().unwrap_or_else(|| "/".into()),
        network,
        peers: peers.into_iter().collect(),
        peers_at: inner.bridge.as_ref().map_or(LOOPBACK, super::Bridge::gateway),
        limits: IntentLimits {
            memory: service.limits.memory.map(kiln_model::Bytes::get),
            cpu: service.limits.cpu,
            pids: service.limits.pids.unwrap_or(DEFAULT_PIDS),
        },
        volumes: volumes(inner, &spec.release)?,
        stop: StopRule { signal: config.stop.signal.clone(), grace_ms: config.stop.grace.millis() },
        log: inner.config.log,
        cgroup: format!("{}/{id}", inner.cgroup_folder()),
        rootless: inner.config.rootless,
        created_ms: inner.now_ms(),
    })
}

fn environment(id: &InstanceId, release: &Release) -> BTreeMap<String, String> {
    let content = &release.content;
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), DEFAULT_PATH.to_owned()),
        ("HOSTNAME".to_owned(), host_name(id.as_str())),
    ]);
    env.extend(content.config.env.clone());
    env.extend(content.service.env.clone());
    env
}

fn volumes(inner: &Inner, release: &Release) -> Result<Vec<Volume>, LocalError> {
    let content = &release.content;
    let declared = &content.config.volumes;
    if let Some(unknown) = content.service.volumes.keys().find(|name| !declared.contains_key(*name)) {
        let known = declared.keys().map(Name::to_string).collect::<Vec<_>>();
        return Err(LocalError::NoVolume {
            service: content.service.name.to_string(),
            volume: unknown.to_string(),
            known: if known.is_empty() { "none".into() } else { known.join(", ") },
        });
    }
    let volume = |(name, decl): (&Name, &VolumeDecl)| {
        let mount = content.service.volumes.get(name);
        Volume {
            path: decl.path.clone(),
            source: source(inner, release, name, decl, mount),
            read_only: mount.is_some_and(|mount| mount.read_only),
        }
    };
    let mut volumes: Vec<Volume> = declared.iter().map(volume).collect();
    // Outer folders first, or they would cover the inner ones.
    volumes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(volumes)
}

fn source(
    inner: &Inner,
    release: &Release,
    name: &Name,
    decl: &VolumeDecl,
    mount: Option<&VolumeMount>,
) -> VolumeSource {
    let content = &release.content;
    match mount {
        Some(VolumeMount { host_path: Some(path), .. }) => VolumeSource::Host { folder: PathBuf::from(path) },
        Some(_) => {
            let (project, service) = (content.project.as_str(), content.service.name.as_str());
            VolumeSource::Kept { folder: inner.layout.volume(project, service, name.as_str()) }
        }
        None => VolumeSource::Memory { size: decl.size.map(kiln_model::Bytes::get) },
    }
}

/// Lets an instance know where the data plane reaches it.
pub(super) fn connect(inner: &Inner, id: &InstanceId, instance: &mut Instance, spec: &FleetSpec) {
    let Some(network) = instance.network.clone() else { return };
    instance.endpoints = endpoints(inner, id, spec, &network);
    let by_socket = network == Network::Loopback;
    instance.supervisor = by_socket.then(|| inner.layout.instance(id).socket());
}

fn endpoints(
    inner: &Inner,
    id: &InstanceId,
    spec: &FleetSpec,
    network: &Network,
) -> BTreeMap<Name, Endpoint> {
    let endpoint = |port: u16| match network {
        Network::Bridge { address, .. } => Endpoint::Tcp { addr: (*address, port).into() },
        Network::Loopback => Endpoint::Dial { socket: inner.layout.instance(id).socket(), port },
    };
    let ports = &spec.release.content.config.ports;
    ports.iter().map(|(name, port)| (name.clone(), endpoint(port.number))).collect()
}

/// The network of a new instance, with an address that nobody has. The caller notes it in the instance before the state
/// is unlocked.
pub(super) fn network(inner: &Inner, id: &InstanceId, state: &mut State) -> Result<Network, LocalError> {
    let Some(bridge) = &inner.bridge else { return Ok(Network::Loopback) };
    let address = bridge.free_address(&state.taken_addresses(), state.last_address)?;
    state.last_address = Some(address);
    let suffix = id.as_str().rsplit('-').next().unwrap_or_default();
    Ok(Network::Bridge {
        bridge: bridge.name.clone(),
        // Interface names have at most 15 characters; the suffix alone tells instances of one home apart.
        host_end: format!("k{}{}", &inner.home_id[..4], &suffix[..suffix.len().min(8)]),
        address,
        prefix: PREFIX,
        gateway: bridge.gateway(),
    })
}
