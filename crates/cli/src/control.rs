//! The way to the control plane: find it, start it when there is none, ask it, follow what it does.

use std::future::Future;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kiln_control::Event;
use kiln_control::api::{ErrorBody, ErrorKind, EventsQuery, InstanceStatus};
use kiln_control::client::{Client, ClientError};

use crate::error::{Failure, Kind, Result};
use crate::home::Home;

/// A cold start reads the state and adopts instances; anything beyond this is a fault worth telling.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Between two tries to start a control plane while another one has the home.
const STEP_BACK: Duration = Duration::from_millis(200);

/// The kernel takes no longer to tear a killed process down, its sockets included.
const DYING: Duration = Duration::from_secs(2);

/// A control plane that answered.
pub(crate) struct Control {
    client: Client,
}

impl Control {
    /// The running control plane.
    pub(crate) fn connect() -> Result<Self> {
        Self::find()?.ok_or_else(|| {
            let home = Home::find().map(|home| home.path().display().to_string()).unwrap_or_default();
            Failure::new(Kind::Unreachable, format!("no control plane runs for {home}"))
                .hint("`kiln up` in a project folder starts one; so does `kiln serve`")
        })
    }

    /// The running control plane, if there is one.
    pub(crate) fn find() -> Result<Option<Self>> {
        let client = Client::new(Home::find()?.serve_socket());
        let begun = Instant::now();
        loop {
            match crate::context::wait(async { Ok(client.version().await) })? {
                Ok(_) => return Ok(Some(Self { client })),
                Err(ClientError::NotRunning { .. }) => return Ok(None),
                // One that is just dying still takes the connection and breaks it. Asking again changes nothing.
                Err(ClientError::Broken { .. }) if begun.elapsed() < DYING => {
                    std::thread::sleep(Duration::from_millis(3));
                }
                Err(error) => return Err(failure(error)),
            }
        }
    }

    /// The running control plane, or one started in the background.
    pub(crate) fn ensure() -> Result<Self> {
        if let Some(control) = Self::find()? {
            return Ok(control);
        }
        let home = Home::find()?;
        let mut child = start(&home)?;
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            if let Some(control) = Self::find()? {
                return Ok(control);
            }
            if let Some(status) = child.try_wait()? {
                if status.code() != Some(Kind::Refused as i32) {
                    return Self::find()?.ok_or_else(|| died(&home, &status.to_string()));
                }
                // Another one has the home, and is on its way up or down.
                std::thread::sleep(STEP_BACK);
                child = start(&home)?;
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        Err(died(&home, "it does not answer"))
    }

    /// Asks once.
    pub(crate) fn call<T, F>(&self, ask: impl FnOnce(Client) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, ClientError>>,
    {
        let client = self.client.clone();
        crate::context::wait(async { ask(client).await.map_err(failure) })
    }

    /// Follows events until `until` says that it has seen enough, or Ctrl-C.
    pub(crate) fn follow(&self, query: &EventsQuery, mut until: impl FnMut(&Event) -> bool) -> Result<()> {
        let client = self.client.clone();
        crate::context::wait(async {
            let mut events = client.events(query).await.map_err(failure)?;
            loop {
                let event = tokio::select! {
                    event = events.next() => event.map_err(failure)?,
                    _ = tokio::signal::ctrl_c() => {
                        return Err(Failure::new(Kind::Interrupted, "interrupted; what was begun goes on")
                            .hint("`kiln status` shows it, `kiln abort SERVICE` gives it up"));
                    }
                };
                match event {
                    Some(event) if until(&event) => return Ok(()),
                    Some(_) => {}
                    None => {
                        return Err(Failure::new(
                            Kind::Unreachable,
                            "the control plane ended while it was followed",
                        )
                        .hint("what was begun goes on when it runs again: `kiln serve`"));
                    }
                }
            }
        })
    }

    /// The one instance whose name is, or begins with, the text.
    pub(crate) fn instance(&self, text: &str) -> Result<InstanceStatus> {
        let all = self.call(|client| async move { client.instances().await })?.instances;
        let exact = all.iter().position(|instance| instance.observed.id.as_str() == text);
        let mut found: Vec<InstanceStatus> = match exact {
            Some(index) => vec![all[index].clone()],
            None => all.into_iter().filter(|one| one.observed.id.as_str().starts_with(text)).collect(),
        };
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(Failure::new(Kind::NotFound, format!("there is no instance {text}"))
                .hint("`kiln ps` lists them")),
            _ => {
                let names: Vec<&str> = found.iter().map(|one| one.observed.id.as_str()).collect();
                Err(Failure::new(Kind::NotFound, format!("several instances begin with {text}"))
                    .hint(format!("name one of: {}", names.join(", "))))
            }
        }
    }
}

fn start(home: &Home) -> Result<std::process::Child> {
    let log = home.path().join("log");
    let open = || {
        std::fs::create_dir_all(&log)?;
        std::fs::File::options().create(true).append(true).open(log.join("serve.log"))
    };
    let output = open().map_err(|error| {
        Failure::new(Kind::Failed, format!("cannot write {}", log.join("serve.log").display()))
            .because(&error)
            .hint("name a folder that you may write to in KILN_HOME")
    })?;
    Command::new(crate::context::program()?)
        .args(["serve", "--detach"])
        .env("KILN_HOME", home.path())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .map_err(|error| Failure::new(Kind::Failed, "cannot start the control plane").because(&error))
}

fn died(home: &Home, how: &str) -> Failure {
    let log = home.path().join("log/serve.log");
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(8)..].iter().map(ToString::to_string).collect();
    Failure::new(Kind::Unreachable, format!("the control plane did not start ({how})"))
        .with_causes(tail)
        .hint(format!("its log is {}; `kiln serve` runs it in the foreground", log.display()))
}

/// What the control plane, or the way to it, said.
pub(crate) fn failure(error: ClientError) -> Failure {
    match error {
        ClientError::Refused(body) => refused(*body),
        other => {
            let failure = Failure::from_error(Kind::Unreachable, &other);
            match other.hint() {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
    }
}

fn refused(body: ErrorBody) -> Failure {
    let kind = match body.kind {
        ErrorKind::NotFound => Kind::NotFound,
        ErrorKind::Conflict | ErrorKind::Quarantined | ErrorKind::Unproven => Kind::Refused,
        ErrorKind::Unavailable | ErrorKind::VersionMismatch => Kind::Unreachable,
        ErrorKind::Invalid | ErrorKind::State | ErrorKind::Internal => Kind::Failed,
    };
    let failure = Failure::new(kind, body.message).with_causes(body.causes);
    match body.hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
