//! Asynchronous work from blocking code, also when the caller is inside a runtime of his own.

use std::future::Future;
use std::io;

/// Runs a future to its end on a thread and runtime of its own.
pub(crate) fn block_on<T: Send, F: Future<Output = T>>(future: impl FnOnce() -> F + Send) -> io::Result<T> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(runtime.block_on(future()))
    };
    std::thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
