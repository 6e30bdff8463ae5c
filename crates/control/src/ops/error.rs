//! Why the control plane refuses what it is asked, in words that say what to do next.

use kiln_calendar::FreezeError;
use kiln_model::{InstanceId, Name, ReleaseNumber, Span};
use kiln_provider::ProviderError;
use kiln_registry::name::Repository;
use kiln_registry::server::RegistryError;
use kiln_rollout::{HandError, PlanError, Violation};

use crate::api::{ErrorBody, ErrorKind, Proven, UnderWay};
use crate::proof::ProofError;
use crate::state::StateError;

/// Why an operation was not carried out. Nothing of it was done then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The state cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The provider refused.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The registry refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// No registry runs in this process.
    #[error("no registry runs with this control plane")]
    NoRegistry,
    /// The registry has no such repository.
    #[error("the registry has no repository {0}")]
    NoRepository(Repository),
    /// Work ended before its time.
    #[error("the work was cut off")]
    CutOff,
    /// Nothing to deploy.
    #[error("there is no service to deploy")]
    Nothing,
    /// The request cannot be read.
    #[error("the request cannot be read: {0}")]
    Request(String),
    /// One service twice in one request.
    #[error("service {0} is deployed twice in one request")]
    Twice(Name),
    /// A service of that name belongs to another project.
    #[error("service {service} in environment {environment} is of project {project}, not of {wanted}")]
    OtherProject {
        /// Where.
        environment: Name,
        /// Which.
        service: Name,
        /// Project that has it.
        project: Name,
        /// Project that wants it.
        wanted: Name,
    },
    /// A service depends on one that is not there.
    #[error("service {service} depends on {dependency}, which is neither deployed nor comes before it")]
    Dependency {
        /// Which.
        service: Name,
        /// What is missing.
        dependency: Name,
    },
    /// An `expose` block names a port that the image lacks.
    #[error("service {service} exposes port {port:?}, but its image has {}", ports(.known))]
    Port {
        /// Which.
        service: Name,
        /// The port.
        port: Name,
        /// The image's ports.
        known: Vec<Name>,
    },
    /// An `expose` block names an address that is none.
    #[error("service {service} exposes port {port:?} on {address:?}, which is not an IP address")]
    Address {
        /// Which.
        service: Name,
        /// The port.
        port: Name,
        /// The text.
        address: String,
    },
    /// A certificate's path depends on a folder that the control plane does not know.
    #[error("service {service} names the certificate file {path:?} by a relative path")]
    Certificate {
        /// Which.
        service: Name,
        /// The path.
        path: String,
    },
    /// A service listens on the port on which it is to find another.
    #[error(
        "service {service} listens on port {port} itself and calls {called} on port {port}; without root, both are on the loopback of the same instance"
    )]
    OwnPort {
        /// Which.
        service: Name,
        /// The port.
        port: u16,
        /// The service that is called.
        called: Name,
    },
    /// Two services claim the same socket or requests.
    #[error("{}", .0.join("; "))]
    Conflict(Vec<String>),
    /// The strategy cannot be carried out.
    #[error("the rollout of service {service} cannot be planned")]
    Plan {
        /// Which.
        service: Name,
        /// Why.
        #[source]
        source: PlanError,
    },
    /// What its instances need from elsewhere is not there.
    #[error("service {service} is not deployed: its instances could not start")]
    NotReady {
        /// Which.
        service: Name,
        /// What is missing.
        #[source]
        source: ProviderError,
    },
    /// The content was rolled back from.
    #[error(
        "service {service}: this content is in quarantine since release {release} was rolled back: {reason}"
    )]
    Quarantined {
        /// Which.
        service: Name,
        /// Release that failed.
        release: ReleaseNumber,
        /// Why it failed.
        reason: String,
    },
    /// No such service.
    #[error("there is no service {service} in environment {environment}{}", services(.known))]
    NoService {
        /// Where.
        environment: Name,
        /// Which.
        service: Name,
        /// Services that are there.
        known: Vec<Name>,
    },
    /// No such release.
    #[error("service {service} in environment {environment} has no release {release}")]
    NoRelease {
        /// Where.
        environment: Name,
        /// Which service.
        service: Name,
        /// Which release.
        release: ReleaseNumber,
    },
    /// Nothing to go back to.
    #[error("service {service} in environment {environment} has no earlier release to go back to")]
    NoEarlier {
        /// Where.
        environment: Name,
        /// Which.
        service: Name,
    },
    /// It serves already.
    #[error("release {release} of service {service} serves already")]
    Serves {
        /// Which service.
        service: Name,
        /// Which release.
        release: ReleaseNumber,
    },
    /// Nothing to abort.
    #[error("no rollout of service {service} is under way in environment {environment}")]
    NoRollout {
        /// Where.
        environment: Name,
        /// Which.
        service: Name,
    },
    /// It has not begun, so that no hand can be laid on it.
    #[error(
        "release {} of service {service}, which {} asked for, waits for its turn: its rollout has not begun",
        under_way.release,
        under_way.author
    )]
    NotBegun {
        /// Which service.
        service: Name,
        /// The rollout.
        under_way: UnderWay,
    },
    /// Somebody's rollout is under way.
    #[error("release {} of service {service} is under way: {}", under_way.release, whose(.under_way, *.now_ms))]
    UnderWay {
        /// Which service.
        service: Name,
        /// The rollout.
        under_way: UnderWay,
        /// When it was asked.
        now_ms: i64,
    },
    /// The engine does not let a person do that to the rollout.
    #[error(transparent)]
    Hand(#[from] HandError),
    /// Nothing to try again.
    #[error("the last rollout of service {service} in environment {environment} did not fail")]
    NothingFailed {
        /// Where.
        environment: Name,
        /// Which.
        service: Name,
    },
    /// The environment is frozen.
    #[error("freeze {freeze:?} is on until {until}: nothing new is rolled out")]
    Frozen {
        /// Its name in the spec.
        freeze: String,
        /// Until when, on the clocks of its own time zone.
        until: String,
        /// The same in milliseconds since the Unix epoch.
        until_ms: i64,
    },
    /// A freeze that makes no sense.
    #[error("freeze {freeze:?} cannot be evaluated")]
    Freeze {
        /// Its name.
        freeze: String,
        /// Why.
        #[source]
        source: FreezeError,
    },
    /// Images come here only from another environment.
    #[error("environment {0} is protected: images come there by promotion alone")]
    Protected(Name),
    /// It is not what serves where it is to be promoted from.
    #[error("the image of service {service} is not the one that serves in {from}")]
    NotThere {
        /// Which service.
        service: Name,
        /// Where it should serve.
        from: Name,
    },
    /// Evidence is missing.
    #[error("environment {environment} requires what is not there:{}", unproven(.missing))]
    Unproven {
        /// Where.
        environment: Name,
        /// By service.
        missing: Vec<Proven>,
    },
    /// Evidence cannot be read.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// A bypass without a word.
    #[error("a bypass must say why")]
    NoBypass,
    /// An emergency without a word.
    #[error("an emergency must say why")]
    NoEmergency,
    /// The stages would break a promise.
    #[error("the rollout of service {service} would break a promise: {}", broken(.violations))]
    Unsafe {
        /// Which.
        service: Name,
        /// What is wrong with its stages.
        violations: Vec<Violation>,
    },
    /// The release to go back to has the content that serves.
    #[error("release {release} of service {service} has the same content as release {current}, which serves")]
    SameContent {
        /// Which service.
        service: Name,
        /// Release that was asked for.
        release: ReleaseNumber,
        /// Release that serves.
        current: ReleaseNumber,
    },
    /// The release to go back to is quarantined.
    #[error(
        "release {release} of service {service} is in quarantine since release {failed} was rolled back: {reason}"
    )]
    BackToQuarantined {
        /// Which service.
        service: Name,
        /// Release that was asked for.
        release: ReleaseNumber,
        /// Release that failed.
        failed: ReleaseNumber,
        /// Why it failed.
        reason: String,
    },
    /// No such instance.
    #[error("there is no instance {0}")]
    NoInstance(InstanceId),
    /// Client and server differ.
    #[error("the request speaks API {theirs}, this control plane speaks {ours}")]
    Version {
        /// The server's.
        ours: u32,
        /// The client's.
        theirs: String,
    },
}

/// Who began a rollout, and how long ago.
fn whose(under_way: &UnderWay, now_ms: i64) -> String {
    let seconds = now_ms.saturating_sub(under_way.since_ms).max(0).unsigned_abs() / 1000;
    format!("{} began it {} ago", under_way.author, Span::from_secs(seconds))
}

/// A line for each requirement, with the command that would provide it.
fn unproven(missing: &[Proven]) -> String {
    let mut out = String::new();
    for service in missing {
        for it in &service.missing {
            let (name, image) = (&service.service, service.image.short());
            out.push_str(&format!("\n  {name} {image} · {}: {}; `{}`", it.requirement, it.why, it.command));
        }
    }
    out
}

fn broken(all: &[Violation]) -> String {
    let told: Vec<String> = all.iter().map(ToString::to_string).collect();
    told.join("; ")
}

fn ports(known: &[Name]) -> String {
    if known.is_empty() { "no ports".into() } else { format!("only {}", list(known)) }
}

fn services(known: &[Name]) -> String {
    if known.is_empty() { String::new() } else { format!("; there is {}", list(known)) }
}

fn list(names: &[Name]) -> String {
    let names: Vec<&str> = names.iter().map(Name::as_str).collect();
    names.join(", ")
}

fn hand(error: &HandError) -> String {
    match error {
        HandError::Over { .. } => "`kiln status` shows what serves".into(),
        HandError::Paused { .. } => "`kiln resume` lets it go on, `kiln abort` gives it up".into(),
        HandError::NotPaused { .. } => "`kiln status` shows what it waits for".into(),
        HandError::NotPromotable { .. } => {
            "wait for it, or give the rollout up with `kiln abort`; `kiln promote --all` passes every gate to come that a person may pass".into()
        }
        HandError::NotAllowed { allowed, .. } => {
            format!("ask {} to run `kiln promote`", allowed.join(" or "))
        }
        HandError::NotFailed { .. } => "`kiln abort` gives it up".into(),
        _ => "`kiln status` shows where it stands".into(),
    }
}

impl ControlError {
    /// The family it belongs to.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::State(_) => ErrorKind::State,
            Self::Provider(ProviderError::NoInstance(_)) | Self::NoInstance(_) => ErrorKind::NotFound,
            Self::Provider(ProviderError::Unsupported { .. }) => ErrorKind::Invalid,
            Self::Provider(_) => ErrorKind::Unavailable,
            Self::Nothing
            | Self::Request(_)
            | Self::Twice(_)
            | Self::Dependency { .. }
            | Self::Port { .. }
            | Self::Address { .. }
            | Self::Certificate { .. }
            | Self::Freeze { .. }
            | Self::NoEmergency
            | Self::NoBypass
            | Self::Unsafe { .. }
            | Self::Plan { .. } => ErrorKind::Invalid,
            Self::OtherProject { .. }
            | Self::OwnPort { .. }
            | Self::Conflict(_)
            | Self::NotBegun { .. }
            | Self::UnderWay { .. }
            | Self::Hand(_)
            | Self::NothingFailed { .. }
            | Self::Frozen { .. }
            | Self::NotReady { .. }
            | Self::SameContent { .. }
            | Self::Serves { .. } => ErrorKind::Conflict,
            Self::Protected(_) | Self::NotThere { .. } | Self::Unproven { .. } => ErrorKind::Unproven,
            Self::Registry(RegistryError::Link { .. }) => ErrorKind::Conflict,
            Self::Proof(_) | Self::Registry(_) | Self::CutOff => ErrorKind::Internal,
            Self::Quarantined { .. } | Self::BackToQuarantined { .. } => ErrorKind::Quarantined,
            Self::NoRegistry
            | Self::NoRepository(_)
            | Self::NoService { .. }
            | Self::NoRelease { .. }
            | Self::NoEarlier { .. }
            | Self::NoRollout { .. } => ErrorKind::NotFound,
            Self::Version { .. } => ErrorKind::VersionMismatch,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::State(error) => return Some(error.hint()),
            Self::Provider(ProviderError::NoInstance(_)) | Self::NoInstance(_) => {
                "`kiln ps` lists the instances".into()
            }
            Self::Provider(_) | Self::Request(_) | Self::Registry(_) | Self::CutOff => return None,
            Self::NoRegistry => "`kiln registry serve` runs one, `kiln serve --registry ADDRESS` both".into(),
            Self::NoRepository(_) => "`kiln registry list` shows the repositories".into(),
            Self::Nothing => "add a service block to the spec".into(),
            Self::Twice(_) => "name each service once".into(),
            Self::OtherProject { project, .. } => format!(
                "rename one of the two, use another environment, or stop the other with `kiln down` in project {project}"
            ),
            Self::Dependency { dependency, .. } => format!("deploy {dependency} first, or together with it"),
            Self::Port { .. } => "name one of the image's ports, or add a port block to the image".into(),
            Self::Address { .. } => "write an address such as \"127.0.0.1\" or \"0.0.0.0\"".into(),
            Self::Certificate { .. } => "give the absolute path".into(),
            Self::OwnPort { .. } => "give one of them another port, or run kiln as root".into(),
            Self::NotReady { .. } => "nothing was changed; put it there and deploy again".into(),
            Self::Conflict(_) => {
                "give one of them another `listen`, `host` or `path`; the `variables` of an environment can".into()
            }
            Self::Plan { .. } | Self::Unsafe { .. } => "change the service's rollout block".into(),
            Self::NotBegun { service, .. } => {
                format!("`kiln status` shows what it waits for; `kiln abort {service}` gives it up")
            }
            Self::UnderWay { service, .. } => {
                format!("wait for its end, or give it up with `kiln abort {service}`")
            }
            Self::Hand(error) => hand(error),
            Self::NothingFailed { .. } => {
                "`kiln deploy` brings a new release, `kiln rollback` an earlier one".into()
            }
            Self::Frozen { .. } => {
                "wait until then, or say why it cannot wait: `--emergency \"why\"`; rollbacks are never frozen".into()
            }
            Self::Freeze { .. } => "change the freeze block of the environment".into(),
            Self::Protected(environment) => {
                format!("`kiln promote {environment}` brings what serves in the environment before it")
            }
            Self::NotThere { from, .. } => {
                format!("`kiln diff` shows what serves where; deploy it to {from} first")
            }
            Self::Unproven { environment, .. } => format!(
                "run what is named; `kiln env show {environment}` shows all evidence; `--bypass \"why\"` goes on without it and is kept on the record"
            ),
            Self::Proof(_) => "`kiln image list` shows what is in the store".into(),
            Self::NoBypass => "write `--bypass \"why\"`; it is kept on the record".into(),
            Self::NoEmergency => "write `--emergency \"why\"`; it is kept on the record".into(),
            Self::SameContent { service, .. } => {
                format!("name another release: `kiln history {service}` lists them")
            }
            Self::BackToQuarantined { service, release, .. } => format!(
                "`kiln quarantine lift {release} --service {service}` lifts it, if the reason is gone"
            ),
            Self::Quarantined { .. } => {
                "change what is deployed, or deploy it all the same with `kiln deploy --force`".into()
            }
            Self::NoService { .. } => "`kiln status` lists the services".into(),
            Self::NoRelease { service, .. } | Self::NoEarlier { service, .. } => {
                format!("`kiln history {service}` lists the releases")
            }
            Self::Serves { .. } => "nothing is to be done".into(),
            Self::NoRollout { .. } => "`kiln status` shows what is under way".into(),
            Self::Version { .. } => {
                "restart the control plane with `kiln serve --replace`; instances and traffic go on meanwhile"
                    .into()
            }
        };
        Some(hint)
    }

    /// As it goes over the wire.
    pub fn body(&self) -> ErrorBody {
        let mut causes = Vec::new();
        let mut cause = std::error::Error::source(self);
        while let Some(source) = cause {
            causes.push(source.to_string());
            cause = source.source();
        }
        ErrorBody { kind: self.kind(), message: self.to_string(), causes, hint: self.hint() }
    }
}
