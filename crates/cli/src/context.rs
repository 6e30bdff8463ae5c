//! What every verb gets: the output, the home folder, the evaluated spec, the store, the control plane.

use std::future::Future;
use std::path::PathBuf;

use kiln_model::Name;
use kiln_store::Store;

use crate::args::{Cli, SpecArgs};
use crate::error::{Failure, Kind, Result};
use crate::home::Home;
use crate::ui::Ui;

/// What every verb gets.
pub(crate) struct Context {
    /// Output.
    pub(crate) ui: Ui,
}

impl Context {
    /// From the global options.
    pub(crate) fn new(cli: &Cli) -> Self {
        Self { ui: Ui::new(cli.json) }
    }

    /// Reads and evaluates the spec; its warnings are told, its errors are the failure.
    pub(crate) fn spec(&self, args: &SpecArgs) -> Result<kiln_spec::Loaded> {
        self.evaluate(args, &args.values.inputs()?)
    }

    /// The same with the values that the spec's variables have in an environment.
    pub(crate) fn spec_for(&self, args: &SpecArgs, environment: &Name) -> Result<kiln_spec::Loaded> {
        self.evaluate(args, &args.values.inputs()?.for_environment(environment.clone()))
    }

    fn evaluate(&self, args: &SpecArgs, inputs: &kiln_spec::Inputs) -> Result<kiln_spec::Loaded> {
        let loaded = kiln_spec::load(&args.path, inputs).map_err(|errors| self.spec_failure(&errors))?;
        if !loaded.warnings.is_empty() && !self.ui.json() {
            self.ui.line(loaded.warnings.render(Ui::color()).trim_end());
        }
        Ok(loaded)
    }

    /// A failure out of the spec's diagnostics.
    pub(crate) fn spec_failure(&self, errors: &kiln_spec::Diagnostics) -> Failure {
        let text = errors.render(!self.ui.json() && Ui::color());
        let (count, _) = errors.counts();
        let plural = if count == 1 { "" } else { "s" };
        Failure::rendered(Kind::Spec, format!("the spec has {count} error{plural}"), text)
            .detail(serde_json::to_value(errors).unwrap_or_default())
    }
}

impl crate::args::Values {
    /// `--var NAME=VALUE` over the environment of this process.
    pub(crate) fn inputs(&self) -> Result<kiln_spec::Inputs> {
        let mut inputs = kiln_spec::Inputs::from_process();
        for given in &self.vars {
            let (name, value) = given.split_once('=').ok_or_else(|| {
                Failure::new(Kind::Spec, format!("--var {given:?} has no value"))
                    .hint(format!("write --var {given}=VALUE"))
            })?;
            inputs = inputs.with_variable(name, value);
        }
        Ok(inputs)
    }
}

/// The image store of the home folder.
pub(crate) fn store() -> Result<Store> {
    Store::open(&Home::find()?.store()).map_err(|error| Failure::from_error(Kind::Failed, &error))
}

/// Runs asynchronous work to its end on this thread.
pub(crate) fn wait<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work)
}

/// Who acts: the name of the user, for the record.
pub(crate) fn author() -> String {
    let uid = rustix::process::getuid();
    let named = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid.as_raw()));
    match named {
        Ok(Some(user)) => user.name,
        _ => format!("uid {}", uid.as_raw()),
    }
}

/// The path of this very program, to start its other processes with.
pub(crate) fn program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|error| {
        Failure::new(Kind::Failed, "cannot find the kiln program itself")
            .because(&error)
            .hint("start kiln by its full path")
    })
}

/// A name that came in as text on the command line.
pub(crate) fn name(text: &str) -> std::result::Result<Name, String> {
    Name::new(text).map_err(|error| error.to_string())
}

/// A release number that came in as text on the command line.
pub(crate) fn release_number(text: &str) -> std::result::Result<u64, String> {
    text.parse().map_err(|_| match Name::new(text) {
        Ok(name) => {
            format!("a release is a number, such as 3; for the service {name} write `--service {name}`")
        }
        Err(_) => "a release is a number, such as 3; `kiln history` lists them".into(),
    })
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Log lines of the long-running processes, on standard error; `KILN_LOG` filters them (`debug`, `kiln_proxy=trace`).
pub(crate) fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("KILN_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let logger =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // A second call in one process changes nothing, which is what is wanted.
    let _ = logger.try_init();
}
