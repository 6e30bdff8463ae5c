//! One file per verb: arguments, one operation, print.

pub(crate) mod abort;
pub(crate) mod bake;
pub(crate) mod completion;
pub(crate) mod copy;
pub(crate) mod deploy;
pub(crate) mod down;
pub(crate) mod exec;
pub(crate) mod fmt;
pub(crate) mod history;
pub(crate) mod image;
pub(crate) mod init;
pub(crate) mod inspect;
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
pub(crate) mod resume;
pub(crate) mod retry;
pub(crate) mod rollback;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod up;
pub(crate) mod validate;

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
        Verb::Retry(args) => retry::run(&args, context),
        Verb::Quarantine(args) => quarantine::run(&args, context),
        Verb::Status(args) => status::run(&args, context),
        Verb::History(args) => history::run(&args, context),
        Verb::Ps(args) => ps::run(&args, context),
        Verb::Logs(args) => logs::run(&args, context),
        Verb::Inspect(args) => inspect::run(&args, context),
        Verb::Stop(args) => stop::run(&args, context),
        Verb::Exec(args) => exec::run(&args, context),
        Verb::Serve(args) => serve::run(&args),
        Verb::Proxy(args) => proxy::run(&args),
        Verb::Completion(args) => completion::run(&args),
        Verb::Man(args) => man::run(&args, context),
    }
}
