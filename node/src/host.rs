//! What the validators of one process share: threads for sockets, for clients, and for signatures.

use std::sync::Arc;

use lockstep_types::{Engine, K256Engine, self_test};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::exit::Stop;
use crate::verify::VerifyPool;

/// Threads of each runtime. Consensus, execution, storage and verification have their own.
const THREADS: usize = 2;

/// The shared threads. They end with it, without waiting for what they do.
pub struct Host {
    /// Runs what validators send each other.
    pub(crate) network: Handle,
    /// Runs what clients ask. However much that is, the sockets of validators have their threads.
    pub(crate) clients: Handle,
    pub(crate) pool: VerifyPool,
    pub(crate) engine: Arc<dyn Engine>,
    runtimes: Vec<Runtime>,
}

impl Host {
    /// Starts the shared threads; `verifiers` = 0 means one per core.
    ///
    /// # Errors
    /// When hashes or signatures come out wrong here, or the system has no room for another thread.
    pub fn start(verifiers: usize) -> Result<Self, Stop> {
        let engine = Arc::new(K256Engine::default());
        self_test(engine.as_ref())?;
        let no_thread = |error| Stop::Bug(format!("cannot start a thread: {error}"));
        let runtime = |name: &str| {
            Builder::new_multi_thread()
                .worker_threads(THREADS)
                .thread_name(name)
                .enable_all()
                .build()
                .map_err(no_thread)
        };
        let (network, clients) = (runtime("network")?, runtime("rpc")?);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = if verifiers == 0 { cores } else { verifiers };
        Ok(Host {
            network: network.handle().clone(),
            clients: clients.handle().clone(),
            pool: VerifyPool::start(workers).map_err(no_thread)?,
            engine,
            runtimes: vec![network, clients],
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for runtime in self.runtimes.drain(..) {
            runtime.shutdown_background();
        }
    }
}
