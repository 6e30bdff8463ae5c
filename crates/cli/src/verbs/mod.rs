//! One file per verb: arguments, one operation, print.

pub(crate) mod abort;
pub(crate) mod advisories;
pub(crate) mod approve;
pub(crate) mod bake;
pub(crate) mod check;
pub(crate) mod completion;
pub(crate) mod copy;
pub(crate) mod deploy;
pub(crate) mod diff;
pub(crate) mod down;
pub(crate) mod env;
pub(crate) mod exec;
pub(crate) mod fmt;
pub(crate) mod history;
pub(crate) mod image;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod key;
pub(crate) mod ledger;
pub(crate) mod lock;
pub(crate) mod logs;
pub(crate) mod man;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod promote;
pub(crate) mod proxy;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod quarantine;
pub(crate) mod recycle;
pub(crate) mod registry;
pub(crate) mod resume;
pub(crate) mod retry;
pub(crate) mod rollback;
pub(crate) mod sbom;
pub(crate) mod scan;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod ship;
pub(crate) mod show;
pub(crate) mod sign;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod up;
pub(crate) mod validate;
pub(crate) mod verify;

use std::process::ExitCode;

use crate::args::Verb;
use crate::context::Context;
use crate::error::Result;

/// Runs a verb.
pub(crate) fn run(verb: Verb, context: &Context) -> Result<ExitCode> {
    match verb {
        Verb::Init(args) => init::run(&args, context),
        Verb::Validate(args) => validate::run(&args, context),
        Verb::Fmt(args) => fmt::run(&args, context),
        Verb::Show(args) => show::run(&args, context),
        Verb::Schema(args) => schema::run(&args, context),
        Verb::Lock(args) => lock::run(&args, context),
        Verb::Bake(args) => bake::run(&args, context),
        Verb::Check(args) => check::run(&args, context),
        Verb::Image(args) => image::run(&args, context),
        Verb::Push(args) => push::run(&args, context),
        Verb::Pull(args) => pull::run(&args, context),
        Verb::Copy(args) => copy::run(&args, context),
        Verb::Up(args) => up::run(&args, context),
        Verb::Down(args) => down::run(&args, context),
        Verb::Plan(args) => plan::run(&args, context),
        Verb::Deploy(args) => deploy::run(&args, context),
        Verb::Rollback(args) => rollback::run(&args, context),
        Verb::Abort(args) => abort::run(&args, context),
        Verb::Pause(args) => pause::run(&args, context),
        Verb::Resume(args) => resume::run(&args, context),
        Verb::Promote(args) => promote::run(&args, context),
        Verb::Approve(args) => approve::run(&args, context),
        Verb::Env(args) => env::run(&args, context),
        Verb::Diff(args) => diff::run(&args, context),
        Verb::Key(args) => key::run(&args, context),
        Verb::Sign(args) => sign::run(&args, context),
        Verb::Verify(args) => verify::run(&args, context),
        Verb::Ledger(args) => ledger::run(&args, context),
        Verb::Scan(args) => scan::run(&args, context),
        Verb::Sbom(args) => sbom::run(&args, context),
        Verb::Advisories(args) => advisories::run(&args, context),
        Verb::Ship(args) => ship::run(&args, context),
        Verb::Retry(args) => retry::run(&args, context),
        Verb::Quarantine(args) => quarantine::run(&args, context),
        Verb::Status(args) => status::run(&args, context),
        Verb::History(args) => history::run(&args, context),
        Verb::Ps(args) => ps::run(&args, context),
        Verb::Logs(args) => logs::run(&args, context),
        Verb::Inspect(args) => inspect::run(&args, context),
        Verb::Stop(args) => stop::run(&args, context),
        Verb::Recycle(args) => recycle::run(&args, context),
        Verb::Exec(args) => exec::run(&args, context),
        Verb::Registry(args) => registry::run(&args, context),
        Verb::Serve(args) => serve::run(&args),
        Verb::Proxy(args) => proxy::run(&args),
        Verb::Completion(args) => completion::run(&args),
        Verb::Man(args) => man::run(&args, context),
    }
}
