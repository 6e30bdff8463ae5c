//! The command line as types; the doc comments are the help texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use kiln_control::api::HandRequest;
use kiln_model::Name;

use crate::context::name;
use crate::control::Control;
use crate::error::Result;
use crate::verbs;

/// Immutable infrastructure in one binary: bake an image once, deploy it without losing a request, roll back with
/// one command.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Which spec, and with which values.
#[derive(Clone, Debug, Args)]
pub(crate) struct SpecArgs {
    /// Folder with kiln.hcl, or the file itself
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) values: Values,
}

/// Values of the spec's variables.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Values {
    /// Set a variable of the spec (also from the environment: KILN_VAR_name)
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub(crate) vars: Vec<String>,
}

/// Which rollout a person lays a hand on.
#[derive(Clone, Debug, Args)]
pub(crate) struct RolloutArgs {
    /// Which service; not needed while there is only one
    #[arg(value_parser = name)]
    pub(crate) service: Option<Name>,
    /// Environment
    #[arg(short, long, default_value = "dev", value_parser = name)]
    pub(crate) environment: Name,
    /// Why, for the record
    #[arg(short = 'm', long)]
    pub(crate) reason: Option<String>,
}

impl RolloutArgs {
    /// With the service that is meant and who asks.
    pub(crate) fn request(&self, control: &Control) -> Result<HandRequest> {
        Ok(HandRequest {
            environment: self.environment.clone(),
            service: verbs::rollback::one_service(control, &self.environment, self.service.as_ref())?,
            author: crate::context::author(),
            reason: self.reason.clone(),
        })
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write a kiln.hcl that fits what is in a folder
    Init(verbs::init::Args),
    /// Check the spec and report every error at once
    Validate(verbs::validate::Args),
    /// Lay out spec files in the canonical style
    Fmt(verbs::fmt::Args),
    /// Print the evaluated spec
    Show(verbs::show::Args),
    /// Print the JSON schema or the reference of the spec language
    Schema(verbs::schema::Args),
    /// Pin every outside input of the images in kiln.lock
    Lock(verbs::lock::Args),
    /// Bake images from the spec
    Bake(verbs::bake::Args),
    /// Prove images: run their checks, goss files and structure tests
    Check(verbs::check::Args),
    /// List, inspect, compare, export and import images
    Image(verbs::image::Args),
    /// Look for known vulnerabilities and secrets in images, and judge them by the policy
    Scan(verbs::scan::Args),
    /// List what is in an image, as CycloneDX or SPDX too
    Sbom(verbs::sbom::Args),
    /// Keep what is known against packages on this machine
    Advisories(verbs::advisories::Args),
    /// Put an image into a registry, with the evidence about it
    Push(verbs::push::Args),
    /// Get an image from a registry, with the evidence about it
    Pull(verbs::pull::Args),
    /// Copy an image from registry to registry, or from and to archives and layouts
    Copy(verbs::copy::Args),
    /// Bake, deploy and serve everything in the spec on this machine
    Up(verbs::up::Args),
    /// Stop and remove everything of the project; volumes and images stay
    Down(verbs::down::Args),
    /// Bake, check, scan, sign and deploy to the first environment, with evidence for every step
    Ship(verbs::ship::Args),
    /// Show what a deploy would do, without doing it
    Plan(verbs::plan::Args),
    /// Bake and roll out new releases
    Deploy(verbs::deploy::Args),
    /// Bring an earlier release back
    Rollback(verbs::rollback::Args),
    /// Give up a rollout that is under way and go back
    Abort(verbs::abort::Args),
    /// Stop a rollout where it is; failures still bring the old release back
    Pause(verbs::pause::Args),
    /// Let a paused rollout go on
    Resume(verbs::resume::Args),
    /// Deploy what serves in one environment to the next, or let a rollout pass the gate that it waits for
    Promote(verbs::promote::Args),
    /// Approve for an environment what would be promoted there
    Approve(verbs::approve::Args),
    /// Show the environments, what serves there, and the evidence about it
    Env(verbs::env::Args),
    /// Show how two environments differ
    Diff(verbs::diff::Args),
    /// Make, list and take keys
    Key(verbs::key::Args),
    /// Sign an image as cosign does
    Sign(verbs::sign::Args),
    /// Show, verify and export the record of every act
    Ledger(verbs::ledger::Args),
    /// Verify all evidence about an image, or bake it again and compare
    Verify(verbs::verify::Args),
    /// Try a release again that failed or was rolled back
    Retry(verbs::retry::Args),
    /// Let a quarantined release content be deployed again
    Quarantine(verbs::quarantine::Args),
    /// Show services, releases, rollouts and traffic
    Status(verbs::status::Args),
    /// Show what happened
    History(verbs::history::Args),
    /// List instances
    Ps(verbs::ps::Args),
    /// Print what instances wrote
    Logs(verbs::logs::Args),
    /// Show everything about one instance
    Inspect(verbs::inspect::Args),
    /// Replace an instance by a new one
    Stop(verbs::stop::Args),
    /// Replace all instances of a service by fresh ones of the same release, which get the secrets of now
    Recycle(verbs::recycle::Args),
    /// Execute a command in an instance; the instance is tainted and replaced afterwards
    Exec(verbs::exec::Args),
    /// Serve images to others, and keep the registry that does
    Registry(verbs::registry::Args),
    /// Run the control plane in the foreground
    Serve(verbs::serve::Args),
    /// Run the data plane in the foreground
    Proxy(verbs::proxy::Args),
    /// Print the completion script of a shell
    Completion(verbs::completion::Args),
    /// Write the manual pages into a folder
    Man(verbs::man::Args),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_name_where_a_number_is_wanted_is_told_what_to_write() {
        for line in [&["kiln", "rollback", "web"][..], &["kiln", "quarantine", "lift", "web"]] {
            let error = Cli::try_parse_from(line).expect_err("web is no number").to_string();
            assert!(error.contains("`--service web`"), "{error}");
        }
        assert!(Cli::try_parse_from(["kiln", "rollback", "3"]).is_ok());
        assert!(Cli::try_parse_from(["kiln", "deploy", "--emergency", ""]).is_err());
    }
}
